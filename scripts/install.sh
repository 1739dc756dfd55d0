#!/usr/bin/env bash
# Installs the program with completions for bash, zsh and fish and its manual page; builds what is missing.
#
# Usage: scripts/install.sh --prefix DIR      for example /usr/local (as root) or ~/.local
#
# The program is made for the CPU of this machine and refuses to start on one that has less.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

prefix=""
while (($#)); do
    case "$1" in
        -h | --help) print_help "$0" && exit ;;
        --prefix)
            (($# > 1)) || fail "$usage_error" "--prefix wants a value" "see $0 --help"
            prefix="$(realpath -m "$2")" && shift 2
            ;;
        *) fail "$usage_error" "unknown option '$1'" "see $0 --help" ;;
    esac
done
[[ -n "$prefix" ]] || fail "$usage_error" "no --prefix is given" "for example $0 --prefix ~/.local"

cd "$repository"
program=.build/release/cosmos-train
if [[ ! -x "$program" ]]; then scripts/build.sh >&2; fi
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
for shell in bash zsh fish; do "$program" --generate-completion-script "$shell" > "$work/$shell"; done
# The argument parser's plugin reads the help of all commands.
swift package --traits Native -c release plugin --allow-writing-to-package-directory generate-manual >&2
manual="$(find .build/plugins/GenerateManual/outputs -name cosmos-train.1)"

place() { # FILE MODE TARGET
    install -D -m "$2" "$1" "$prefix/$3"
    echo "$prefix/$3"
}
place "$program" 755 bin/cosmos-train
place "$work/bash" 644 share/bash-completion/completions/cosmos-train
place "$work/zsh" 644 share/zsh/site-functions/_cosmos-train
place "$work/fish" 644 share/fish/vendor_completions.d/cosmos-train.fish
place "$manual" 644 share/man/man1/cosmos-train.1
if [[ ":$PATH:" != *":$prefix/bin:"* ]]; then echo "note: $prefix/bin is not on the PATH" >&2; fi
