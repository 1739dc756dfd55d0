#!/usr/bin/env bash
# Makes a corpus of real English that every Debian or Ubuntu system can get from its package archive, in C4's format
# (gzipped JSON lines with text, timestamp, url).
#
# Usage: scripts/make_corpus.sh [--size small|large] [FOLDER]      (FOLDER: data/quickstart/text, or data/large/text)
#
#   small   the descriptions of the packages: some 40,000 documents, 12 MB; a minute
#   large   besides, dictionaries and the manuals of Linux, Python, PostgreSQL, Debian and others: over 100,000
#           documents, some 80 MB; 90 MB to download, some minutes
#
# Writes FOLDER/train.json.gz and FOLDER/validation.json.gz. A paragraph that stands in several documents is kept
# once. Which documents are for validation is decided by a hash of their text; training documents that share a
# passage with one are left out. FOLDER/sources.tsv names the packages with their versions and what came of each;
# FOLDER/licences holds the licences of manuals and dictionaries. Where FOLDER exists, it is reused.
#
# apt keeps lists and caches of its own for this, in a temporary folder; the system's are not touched.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then print_help "$0" && exit; fi
size=small
if [[ "${1:-}" == --size ]]; then
    size="${2:-}"
    [[ "$size" == small || "$size" == large ]] || fail "$usage_error" "there is no corpus of size '$size'" "small or large"
    shift 2
fi
if (($# > 1)) || [[ "${1:-}" == -* ]]; then fail "$usage_error" "expected one folder, not '$*'" "see $0 --help"; fi

if [[ $size == small ]]; then default=quickstart; else default=large; fi
folder="$(realpath -m "${1:-$repository/data/$default/text}")" # apt wants absolute paths
if [[ -e "$folder" ]]; then
    [[ -s "$folder/train.json.gz" && -s "$folder/validation.json.gz" ]] || fail "$input_output_error" \
        "$folder exists, but is not a finished corpus" "remove it, or name another folder"
    [[ $size == small || -e "$folder/licences" ]] || fail "$usage_error" \
        "$folder holds a corpus of another size" "remove it, or name another folder"
    echo "  $folder is there already"
    exit
fi
cd "$repository"
readonly helper=/usr/lib/apt/apt-helper
if [[ $size == large ]]; then scripts/install_dependencies.sh corpus; fi
if ! command -v apt-get > /dev/null || [[ ! -x $helper ]]; then
    fail 1 "this corpus is made of the package archive of Debian or Ubuntu, and here is no apt" \
        "train on text of your own: scripts/quickstart.sh --input PATH"
fi

mkdir -p "$(dirname "$folder")"
work="$(mktemp -d "$folder.partial-XXXXXX")"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/apt/{state/lists/partial,cache/archives/partial} "$work/text"

# Read after the system's configuration: where packages come from and through which proxy stays the
# system's affair. Of the lists only what is needed is fetched, and no hook of the system runs.
if [[ $size == small ]]; then targets='::Translations::'; else targets='::\(Translations\|Packages\)::'; fi
{
    cat << EOF
Dir::State "$work/apt/state";
Dir::State::Lists "$work/apt/state/lists";
Dir::Cache "$work/apt/cache";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "en";
Acquire::Retries "3";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
EOF
    apt-config dump | sed -n 's/^\(Acquire::IndexTargets::deb[^:]*::[^:]*\)::MetaKey .*/\1::DefaultEnabled "false";/p' |
        grep -v "$targets"
} > "$work/apt.conf"
ask() { APT_CONFIG='' LC_ALL=C "$1" -q -c "$work/apt.conf" "${@:2}" < /dev/null; }

echo "  fetching the descriptions from the package archive"
ask apt-get update 2>&1 | sed 's/^/  apt: /' || fail "$input_output_error" "apt-get update failed" "its own message is above"

# One line a list: the distribution, its release, the file.
# shellcheck disable=SC2016  # apt expands these
lists="$(ask apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(FILENAME)' \
    'Created-By: Translations' 'Language: en' | grep -E '^(Debian|Ubuntu) ')" || fail "$input_output_error" \
    "the package archive gave no descriptions" "is the network up? Do the sources in /etc/apt name Debian's or Ubuntu's archive?"
while read -r origin release file; do
    printf '\nPages: https://packages.%s.org/%s\n\n' "${origin,,}" "${release%%-*}" | sed 's/ubuntu\.org/ubuntu.com/'
    $helper cat-file "$file"
done <<< "$lists" > "$work/descriptions"

perl scripts/corpus/descriptions.pl < "$work/descriptions" > "$work/documents"

# took NAME VERSION: writes down what came of a package, the documents after line $counted.
counted=0
took() {
    tail -n +$((counted + 1)) "$work/documents" | LC_ALL=C awk -F '\t' -v name="$1" -v version="$2" -v OFS='\t' \
        '{ bytes += length($3) } END { print name, version, NR, bytes + 0 }' | tee -a "$work/text/sources.tsv" |
        awk -F '\t' '{ printf "  %-28s %7d documents  %6.1f MB\n", $1, $3, $4 / 1e6 }'
    counted=$(wc -l < "$work/documents")
}
printf 'package\tversion\tdocuments\tbytes\n' > "$work/text/sources.tsv"
took descriptions "$(awk '{ print $2 }' <<< "$lists" | sort -u | paste -sd+)"

# newest PATTERN: the package of that name (an extended regular expression) with the highest version in it.
newest() { grep -Ex "$1" "$work/names" | sort -V | tail -n 1; }

# unpack PACKAGE: downloads it into $work/root and copies its licence.
unpack() {
    rm -rf "$work/root"
    (cd "$work/apt/cache" && ask apt-get download "$1") > "$work/apt.log" 2>&1 ||
        fail "$input_output_error" "cannot download $1: $(tail -n 1 "$work/apt.log")" "is the network up?"
    dpkg-deb -x "$work/apt/cache/$1"_*.deb "$work/root"
    version="$(dpkg-deb -f "$work/apt/cache/$1"_*.deb Version)"
    rm "$work/apt/cache/$1"_*.deb
    cp "$work/root/usr/share/doc/$1/copyright" "$work/text/licences/$1" 2> /dev/null ||
        fail "$data_error" "$1 $version comes without its licence" "report this"
}

if [[ $size == large ]]; then
    mkdir "$work/text/licences"
    ask apt-cache pkgnames > "$work/names"
    for name in gcide wn foldoc jargon; do
        package="$(newest "dict-$name")" || { echo "  dict-$name is not in this archive"; continue; }
        unpack "$package"
        perl scripts/corpus/dictionary.pl "debian:$package" "$work/root/usr/share/dictd/$name" >> "$work/documents"
        took "$package" "$version"
    done
    for pattern in 'linux-doc-[0-9.]+' 'python3\.[0-9]+-doc' 'postgresql-doc-[0-9]+' libreoffice-help-en-us sqlite3-doc \
        git-doc python-django-doc apache2-doc debian-handbook debian-reference-en debian-policy developers-reference \
        debian-faq; do
        package="$(newest "$pattern")" || { echo "  $pattern is not in this archive"; continue; }
        unpack "$package"
        # Translations lie in folders of their own.
        (cd "$work/root" && find usr -type f -regex '.*\.html?\(\.en\)?' |
            grep -Pv '/translations/|/(?!en-US/)[a-z]{2}-[A-Z]{2}/' | LC_ALL=C sort) > "$work/pages"
        xargs -d '\n' -a "$work/pages" perl scripts/corpus/pages.pl "debian:$package" "$work/root" >> "$work/documents"
        took "$package" "$version"
    done
fi

echo "  dividing them into training and validation"
perl scripts/corpus/split.pl "$work/text/train.json" "$work/text/validation.json" < "$work/documents"
gzip -n "$work/text/train.json" "$work/text/validation.json"
find "$work/text" -type f -exec sync {} +
mv -T "$work/text" "$folder"
du -h "$folder"/*.gz | sed 's/^/  /'
