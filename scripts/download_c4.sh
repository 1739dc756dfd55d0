#!/usr/bin/env bash
# Downloads files of C4's English part, the corpus that the LLaMA experiments of the literature train on,
# from its public home on the Hugging Face hub. A train file is 320 MB: 356,000 documents, some 150 million tokens.
#
# Usage: scripts/download_c4.sh [--train N] [--validation N] [--output FOLDER] [--base-url URL]
#
#   --train N         the first N of 1024 train files (1)
#   --validation N    the first N of 8 validation files (1)
#   --output FOLDER   where they go (data/c4/text)
#   --base-url URL    a mirror that has the files under their own names; so does the environment's C4_BASE_URL
#                     (https://huggingface.co/datasets/allenai/c4/resolve/main/en)
#
# Run again, it goes on where it broke off: a file under its own name is complete and checked (size, gzip
# checksum), what is under way is called *.part.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

train=1
validation=1
folder="$repository/data/c4/text"
base="${C4_BASE_URL:-https://huggingface.co/datasets/allenai/c4/resolve/main/en}"
while (($#)); do
    case "$1" in
        -h | --help) print_help "$0" && exit ;;
        --train | --validation | --output | --base-url)
            (($# > 1)) || fail "$usage_error" "$1 wants a value" "see $0 --help"
            case "$1" in
                --train) train="$2" ;;
                --validation) validation="$2" ;;
                --output) folder="$2" ;;
                --base-url) base="$2" ;;
            esac
            shift 2
            ;;
        *) fail "$usage_error" "unknown option '$1'" "see $0 --help" ;;
    esac
done
base="${base%/}"

check_count() { # OPTION VALUE LARGEST
    if ! [[ "$2" =~ ^[0-9]{1,4}$ ]] || ((10#$2 > $3)); then
        fail "$usage_error" "$1 '$2' is not a number of files from 0 to $3" "see $0 --help"
    fi
}
check_count --train "$train" 1024
check_count --validation "$validation" 8
"$repository/scripts/install_dependencies.sh" download
mkdir -p "$folder" || fail "$input_output_error" "cannot create the folder $folder" "choose another with --output"

bytes_of() { stat -c %s "$1" 2> /dev/null || echo 0; }
megabytes() { awk -v bytes="$1" 'BEGIN { printf "%.1f MB", bytes / 1e6 }'; }

# An HTTP status that trying again will not change.
refuse() { # STATUS URL
    fail "$input_output_error" "the server answers $1 for $2" \
        "look at the address in a browser; a mirror can be named with --base-url"
}

# Sets `expected` to the size that the server announces. The hub answers with a redirect to a content
# server, and gives the size of the file itself as x-linked-size.
ask_size() { # URL
    local headers status
    headers="$(curl --silent --show-error --location --head --retry 3 --connect-timeout 30 "$1")" ||
        fail "$input_output_error" "cannot reach $1" "curl's own message is above; run the script again later"
    headers="${headers//$'\r'/}"
    status="$(awk '/^HTTP\// { status = $2 } END { print status }' <<< "$headers")"
    [[ "$status" == 200 ]] || refuse "$status" "$1"
    expected="$(awk -F ': *' 'tolower($1) == "x-linked-size" { linked = $2 }
                              /^HTTP\// { length_ = "" } tolower($1) == "content-length" { length_ = $2 }
                              END { print linked != "" ? linked : length_ }' <<< "$headers")"
    [[ "$expected" =~ ^[0-9]+$ ]] || fail "$input_output_error" "the server does not say how large $1 is" \
        "a download could not be checked; use another server (--base-url)"
}

meter=(--silent --show-error)
if [[ -t 2 ]]; then meter=(--progress-bar); fi

# Fetches URL to PART, which must become `expected` bytes; a broken connection is taken up where it broke.
transfer() { # URL PART
    local failures=0 before after status code
    while before="$(bytes_of "$2")"; ((before != expected)); do
        if ((before > expected)); then rm "$2"; fi
        code=0
        status="$(curl "${meter[@]}" --location --fail --continue-at - --connect-timeout 30 \
            --speed-limit 1000 --speed-time 60 --write-out '%{http_code}' --output "$2" "$1")" || code=$?
        after="$(bytes_of "$2")"
        case "$code" in
            0) break ;;
            23) fail "$input_output_error" "cannot write $2 ($after of $expected bytes are there)" "is the disk full?" ;;
            22) if [[ "$status" == 4* && "$status" != 408 && "$status" != 429 ]]; then refuse "$status" "$1"; fi ;;
            33) rm -f "$2" ;; # the server cannot continue: from the start
        esac
        if ((after > before)); then failures=0; else failures=$((failures + 1)); fi
        ((failures < 5)) || fail "$input_output_error" "the download of $1 broke off at $after of $expected bytes, again and again" \
            "run the script again later; it goes on from there"
        echo "  broke off at $(megabytes "$after") of $(megabytes "$expected"), going on from there" >&2
        sleep "$failures"
    done
}

fetch() { # NAME POSITION
    local file="$folder/$1" part="$folder/$1.part" url="$base/$1" size
    ask_size "$url"
    if [[ -e "$file" ]]; then
        size="$(bytes_of "$file")"
        ((size == expected)) || fail "$data_error" "$file has $size bytes, the server's has $expected" "remove it and run the script again"
        echo "$2 $1 is there already"
        return
    fi
    echo "$2 $1, $(megabytes "$expected")"
    transfer "$url" "$part"
    size="$(bytes_of "$part")"
    if ((size != expected)); then
        rm "$part"
        fail "$data_error" "$1 came with $size bytes where the server had announced $expected" "run the script again"
    fi
    if ! gzip --test "$part"; then
        rm "$part"
        fail "$data_error" "$1 is not an intact gzip file" "run the script again; if it stays so, the server's copy is damaged"
    fi
    sync "$part"
    mv "$part" "$file"
}

names=()
for ((i = 0; i < 10#$train; i++)); do names+=("$(printf 'c4-train.%05d-of-01024.json.gz' "$i")"); done
for ((i = 0; i < 10#$validation; i++)); do names+=("$(printf 'c4-validation.%05d-of-00008.json.gz' "$i")"); done
for ((i = 0; i < ${#names[@]}; i++)); do
    fetch "${names[i]}" "$(printf '[%d/%d]' $((i + 1)) ${#names[@]})"
done
echo "${#names[@]} files lie in $folder"
