#!/usr/bin/env bash
# From text to a trained LLaMA: installs what is missing, builds the program, makes a corpus and token
# shards, trains configs/quickstart.cfg, plots the loss and writes a sample. Some minutes on two cores.
#
# Usage: scripts/quickstart.sh [--input PATH] [--set section.key=value ...]
#
#   --input PATH              train on your own text: a file (.txt, .jsonl, either gzipped too) or a folder of them
#   --set section.key=value   change a setting of configs/quickstart.cfg, for example --set training.steps=600
#
# Without --input the text is English from the descriptions of Debian's packages. Run again, it reuses what
# is done and goes on with what is not; an interrupted training continues where it stopped. With other settings it makes
# another run beside the first, or wherever --set output.run_dir=... says.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

input="" run=""
settings=()
while (($#)); do
    case "$1" in
        -h | --help) print_help "$0" && exit ;;
        --input | --set)
            (($# > 1)) || fail "$usage_error" "$1 wants a value" "see $0 --help"
            case "$1 $2" in
                "--input "*) input="$2" ;;
                "--set output.run_dir="*) run="${2#*=}" ;;
                *) settings+=("$1" "$2") ;;
            esac
            shift 2
            ;;
        *) fail "$usage_error" "unknown option '$1'" "see $0 --help" ;;
    esac
done

# Text of one's own gets folders of its own, named after it.
name=quickstart
if [[ -n "$input" ]]; then
    [[ -r "$input" ]] || fail "$input_output_error" "cannot read $input" "check the path"
    input="$(realpath "$input")"
    name="$(basename "$input" | sed -E 's/\.(txt|jsonl?)?(\.gz)?$//; s/[^A-Za-z0-9._-]+/-/g')"
    if [[ "$name" == quickstart ]]; then name=quickstart-input; fi
fi
cd "$repository"
data="data/$name"
program=.build/release/cosmos-train

# The first folder that holds no run, or one of these settings.
readonly settings_file=quickstart.settings
holds_run() { [[ -e "$run/config.resolved.cfg" || -e "$run/log.csv" ]]; }
if [[ -z "$run" ]]; then
    run="runs/$name"
    number=1
    while holds_run; do
        made_with=""
        if [[ -e "$run/$settings_file" ]]; then made_with="$(< "$run/$settings_file")"; fi
        if [[ "$made_with" == "${settings[*]}" ]]; then break; fi
        echo "$run was made with ${made_with:-configs/quickstart.cfg as it is}, not with ${settings[*]:-that alone}"
        number=$((number + 1))
        run="runs/$name-$number"
    done
    if ((number > 1)); then echo "this run is $run"; fi
fi

readonly step_count=8 interrupted=75
step_number=0
step() { # TITLE
    if ((step_number > 0)); then echo "  $((SECONDS - step_start)) s"; fi
    step_number=$((step_number + 1))
    step_start=$SECONDS
    printf '\n[%d/%d] %s\n' "$step_number" "$step_count" "$1"
}

# The files of $input that hold text; what they were, so that another text of the same name is noticed.
input_files=()
describe_input() {
    local file
    while IFS= read -r -d '' file; do input_files+=("$file"); done < <(
        if [[ -d "$input" ]]; then
            find -L "$input" -type f -regextype posix-extended -regex '.*\.(txt|jsonl?)(\.gz)?' -print0 | LC_ALL=C sort -z
        else
            printf '%s\0' "$input"
        fi
    )
    ((${#input_files[@]})) || fail "$data_error" "the folder $input holds no text" "its files should end in .txt, .jsonl, .json (or with .gz)"
    printf 'text of %s: %d files, %s\n' "$input" "${#input_files[@]}" "$(stat -L -c '%n %s %Y' "${input_files[@]}" | cksum)"
}

make_own_text() {
    local source work
    describe_input > /dev/null # sets input_files
    source="$(describe_input)"
    if [[ -d "$data/text" ]]; then
        [[ "$(cat "$data/text/source")" == "$source" ]] || fail "$usage_error" \
            "$data was made from other text: $(cat "$data/text/source")" "remove $data and $run to begin anew, or rename the input"
        echo "  $data/text is there already"
        return
    fi
    mkdir -p "$data"
    work="$(mktemp -d "$data/text.partial-XXXXXX")"
    # shellcheck disable=SC2064  # the folder of now
    trap "rm -rf '$work'" EXIT
    perl scripts/split_text.pl "$work/train.jsonl" "$work/validation.jsonl" "${input_files[@]}" || exit
    echo "$source" > "$work/source"
    chmod 755 "$work"
    mv -T "$work" "$data/text"
}

# SentencePiece refuses a vocabulary that is too large for the text, or too small for its characters: for
# text of one's own the first size that fits is taken.
train_tokenizer() { # FILE
    local size status sizes=(4096)
    if [[ -n "$input" ]]; then
        if (($(stat -c %s "$1") < 1000000)); then sizes=(1024); fi
        sizes+=(512 8192 16384 32768)
    fi
    for size in "${sizes[@]}"; do
        echo "  $size pieces"
        status=0
        "$program" tokenizer --input "$1" --output "$data/tokenizer.model" --vocab-size "$size" \
            --model-type bpe --max-sentences 50000 --force || status=$?
        if ((status == 0)); then echo "$size" > "$data/vocab_size"; fi
        if ((status != data_error)); then return "$status"; fi
    done
    return "$status"
}

tokenize() { # PART FILE
    if compgen -G "$data/$1/*.bin" > /dev/null; then
        echo "  $data/$1 is there already"
    else
        "$program" tokenize --tokenizer "$data/tokenizer.model" --input "$2" --output "$data/$1" --prefix "$1"
    fi
}

step "Installing what is missing"
scripts/install_dependencies.sh build plot

step "Building the program"
scripts/build.sh

step "Making the corpus"
if [[ -n "$input" ]]; then
    make_own_text
    texts=("$data/text/train.jsonl" "$data/text/validation.jsonl")
else
    scripts/make_corpus.sh "$data/text"
    texts=("$data/text/train.json.gz" "$data/text/validation.json.gz")
fi

step "Training a tokenizer, turning text into tokens"
if [[ -e "$data/vocab_size" ]]; then
    echo "  $data/tokenizer.model is there already"
else
    train_tokenizer "${texts[0]}"
fi
tokenize train "${texts[0]}"
tokenize validation "${texts[1]}"

step "Training configs/quickstart.cfg"
mkdir -p "$run"
resume=()
if holds_run; then resume=(--resume); else echo "${settings[*]}" > "$run/$settings_file"; fi
status=0
"$program" --config configs/quickstart.cfg --set "data.train=$data/train" --set "data.validation=$data/validation" \
    --set "data.tokenizer=$data/tokenizer.model" --set "model.vocab_size=$(cat "$data/vocab_size")" \
    --set "output.run_dir=$run" "${settings[@]}" "${resume[@]}" || status=$?
if ((status == interrupted)); then echo "Run this script again to go on." >&2; fi
if ((status != 0)); then exit "$status"; fi

step "Measuring the loss on all of the validation text"
"$program" eval "$run" > "$run/eval.txt"
measured() { sed -n "s/^$1  *//p" "$run/eval.txt"; } # ROW
loss="$(measured loss)"
entropy="$(measured 'unigram entropy')"
sed 's/^/  /' "$run/eval.txt"

step "Plotting the loss"
scripts/plot.sh "$run" -o "$run/loss.png" -o "$run/loss.svg"

step "Writing a sample"
prompts=("This package" "A library for")
if [[ -n "$input" ]]; then
    # The first words of documents that were not trained on.
    mapfile -t prompts < <(perl -CS -ne 'if (/"text"\s*:\s*"((?:[^"\\\s]{1,24} ){0,2}[^"\\\s]{1,24})/) { print "$1\n"; last if ++$n == 2 }' \
        "$data/text/validation.jsonl")
fi
"$program" generate "$run" --prompt "${prompts[0]-}" --max-tokens 80 --samples 3 | tee "$run/sample.txt"
echo "  $((SECONDS - step_start)) s"

printf '\nDone in %d min %02d s.\n\n' $((SECONDS / 60)) $((SECONDS % 60))
awk -v loss="$loss" -v entropy="$entropy" 'BEGIN {
    printf "  validation loss  %.3f nats a token (perplexity %.1f)\n", loss, exp(loss)
    printf "  unigram entropy  %.3f: what a model would reach that knows the tokens'"'"' frequencies alone\n\n", entropy
}'
printf '  %-16s %s\n' \
    'text' "$data/text" \
    'tokenizer' "$data/tokenizer.model" \
    'token shards' "$data/train, $data/validation" \
    'checkpoint' "$run/checkpoints/$(readlink "$run/checkpoints/latest") (a Hugging Face model)" \
    'log' "$run/log.csv" \
    'loss plot' "$run/loss.png, $run/loss.svg" \
    'sample' "$run/sample.txt"
printf '\nMore text from it:  %s generate %s --prompt %q\n' "$program" "$run" "${prompts[-1]-}"
printf 'A longer run:       scripts/quickstart.sh %s--set training.steps=1600\n' "${input:+--input $(printf %q "$input") }"
