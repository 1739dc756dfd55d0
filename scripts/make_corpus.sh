#!/usr/bin/env bash
# Makes a corpus of real English that every Debian or Ubuntu system can get: the descriptions of the
# packages in its archive, in C4's format (gzipped JSON lines with text, timestamp, url).
#
# Usage: scripts/make_corpus.sh [FOLDER]         (FOLDER: data/quickstart/text)
#
# Writes FOLDER/train.json.gz and FOLDER/validation.json.gz, some 40,000 and 1,500 documents, one a
# package. A paragraph that stands in several packages is kept once. Which documents are for validation
# is decided by a hash of their text; training documents that share a passage with one are left out.
# Where FOLDER exists, it is reused.
#
# apt keeps lists and caches of its own for this, in a temporary folder; the system's are not touched.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then print_help "$0" && exit; fi
if (($# > 1)) || [[ "${1:-}" == -* ]]; then fail "$usage_error" "expected one folder, not '$*'" "see $0 --help"; fi

folder="$(realpath -m "${1:-$repository/data/quickstart/text}")" # apt wants absolute paths
if [[ -e "$folder" ]]; then
    [[ -s "$folder/train.json.gz" && -s "$folder/validation.json.gz" ]] || fail "$input_output_error" \
        "$folder exists, but is not a finished corpus" "remove it, or name another folder"
    echo "  $folder is there already"
    exit
fi
readonly helper=/usr/lib/apt/apt-helper
command -v apt-get > /dev/null && [[ -x $helper ]] || fail 1 \
    "this corpus is made of the package archive of Debian or Ubuntu, and here is no apt" \
    "train on text of your own: scripts/quickstart.sh --input PATH"

mkdir -p "$(dirname "$folder")"
work="$(mktemp -d "$folder.partial-XXXXXX")"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/apt/{state/lists/partial,cache/archives/partial} "$work/text"

# Read after the system's configuration: where packages come from and through which proxy stays the
# system's affair. Nothing but the translations is fetched, and no hook of the system runs.
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
        grep -v '::Translations::'
} > "$work/apt.conf"
ask_apt() { APT_CONFIG='' LC_ALL=C apt-get -q -c "$work/apt.conf" "$@" < /dev/null; }

echo "  fetching the descriptions from the package archive"
ask_apt update 2>&1 | sed 's/^/  apt: /' || fail "$input_output_error" "apt-get update failed" "its own message is above"

# One line a list: the distribution, its release, the file.
# shellcheck disable=SC2016  # apt expands these
lists="$(ask_apt indextargets --format '$(ORIGIN) $(CODENAME) $(FILENAME)' \
    'Created-By: Translations' 'Language: en' | grep -E '^(Debian|Ubuntu) ')" || fail "$input_output_error" \
    "the package archive gave no descriptions" "is the network up? Do the sources in /etc/apt name Debian's or Ubuntu's archive?"
while read -r origin release file; do
    printf '\nPages: https://packages.%s.org/%s\n\n' "${origin,,}" "${release%%-*}" | sed 's/ubuntu\.org/ubuntu.com/'
    $helper cat-file "$file"
done <<< "$lists" > "$work/descriptions"

echo "  turning them into documents"
perl "$repository/scripts/descriptions_to_c4.pl" "$work/text/train.json" "$work/text/validation.json" < "$work/descriptions"
gzip -n "$work/text/train.json" "$work/text/validation.json"
sync "$work/text"/*
mv -T "$work/text" "$folder"
du -h "$folder"/* | sed 's/^/  /'
