#!/usr/bin/env bash
# Tests the repository as a stranger finds it: makes a minimal Debian in a folder, brings this machine's Swift toolchain
# and the last commit in, and runs the steps of the Dockerfile there, the README's two commands among them.
#
# Usage: scripts/test_fresh.sh [--mirror URL] [--packages FOLDER] [--keep]
#
#   --mirror URL        of Debian's packages (http://deb.debian.org/debian)
#   --packages FOLDER   clones of the Swift packages, as FOLDER/OWNER/NAME.git, for a machine that does not reach GitHub
#   --keep              leave the folder, and say where it is
#
# As root, on Debian with mmdebstrap. Takes some ten minutes and 8 GB below TMPDIR (/tmp).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mirror=http://deb.debian.org/debian
packages="" keep=""
while (($#)); do
    case "$1" in
        -h | --help) print_help "$0" && exit ;;
        --keep) keep=yes && shift ;;
        --mirror | --packages)
            (($# > 1)) || fail "$usage_error" "$1 wants a value" "see $0 --help"
            if [[ "$1" == --mirror ]]; then mirror="$2"; else packages="$(realpath "$2")"; fi
            shift 2
            ;;
        *) fail "$usage_error" "unknown option '$1'" "see $0 --help" ;;
    esac
done
((EUID == 0)) || fail "$usage_error" "only root can make a system in a folder" "sudo $0"
command -v mmdebstrap > /dev/null || fail 1 "mmdebstrap is missing" "apt-get install mmdebstrap"
swift="$(realpath "$(command -v swift)")" || fail 1 "the command 'swift' is not on the PATH"
toolchain="${swift%/usr/bin/*}"

cd "$repository"
suite="$(sed -n 's/^FROM debian:\([a-z]*\).*/\1/p' Dockerfile)"
root="$(mktemp -d "${TMPDIR:-/tmp}/cosmos-fresh-XXXXXX")"
if [[ -n "$keep" ]]; then echo "in $root"; else trap 'rm -rf --one-file-system "$root"' EXIT; fi

echo "Making Debian $suite"
mmdebstrap --quiet --variant=minbase "$suite" "$root" "$mirror"
for file in resolv.conf hosts; do cp -L "/etc/$file" "$root/etc/$file"; done
cp -a "$toolchain" "$root/opt/swift"
git clone --quiet . "$root/cosmos-train"
if [[ -n "$packages" ]]; then
    mkdir "$root/packages"
    for package in apple/swift-argument-parser jpsim/Yams; do
        git clone --quiet --mirror "$packages/$package"* "$root/packages/$package"
    done
    printf '[url "/packages/"]\n\tinsteadOf = https://github.com/\n' > "$root/root/.gitconfig"
fi

# The toolchain is there already.
grep '^RUN ' Dockerfile | grep -v swift.tar.gz | sed 's/^RUN //' > "$root/steps"
while IFS= read -r step; do
    printf '\n== %s\n' "$step"
    started=$SECONDS
    # shellcheck disable=SC2016  # expanded in the inner shell
    unshare --mount --pid --fork bash -euc '
        mount -t proc proc "$1/proc"
        mount --rbind /dev "$1/dev"
        exec env -i HOME=/root LANG=C.UTF-8 PATH="$2" chroot "$1" bash -c "cd /cosmos-train && $3" < /dev/null
    ' - "$root" "$(sed -n 's/^ENV PATH=//p' Dockerfile)" "$step" || fail 1 "failed on a fresh Debian: $step"
    echo "== $((SECONDS - started)) s"
done < "$root/steps"
