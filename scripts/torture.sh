#!/usr/bin/env bash
# Does to the program what goes wrong in life, and checks that nothing is lost: kills at random moments and at chosen
# calls of the system, calls that fail, full disks, several starts at once, and mutated files of every kind that is read.
# Each case must end with the numbers of an undisturbed run or an error that says what is wrong: no crash, no hang,
# a documented exit code, nothing half-written.
#
# Usage: scripts/torture.sh [--minutes N] [--seed S] [--jobs N] [--case N] [--program FILE]
#
#   --minutes N      how long (10); 60 minutes on two cores make some 10,000 cases
#   --seed S         which cases (the time of day)
#   --jobs N         cases at a time (the number of cores)
#   --case N         make only case N of the seed, and keep its folder
#   --program FILE   the program (.build/release/cosmos-train, which is built first)
#
# It prints counts and each failure with what makes it again. Exit code 1 where there is one. It needs a C compiler and
# Perl; the cases with a full disk need the right to mount (they are left out without it).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

minutes=10
seed="$(date +%s)"
jobs="$(nproc)"
case=()
program=""
while (($#)); do
    case "$1" in
        -h | --help) print_help "$0" && exit ;;
        --minutes | --seed | --jobs | --case | --program)
            (($# > 1)) || fail "$usage_error" "$1 wants a value" "see $0 --help"
            if [[ "$1" != --program && ! "$2" =~ ^[0-9]{1,12}$ ]]; then
                fail "$usage_error" "$1 $2: not a number" "see $0 --help"
            fi
            case "$1" in
                --minutes) minutes="$2" ;;
                --seed) seed="$2" ;;
                --jobs) jobs="$2" ;;
                --case) case=("$2") ;;
                --program) program="$(realpath "$2")" ;;
            esac
            shift 2
            ;;
        *) fail "$usage_error" "unknown argument '$1'" "see $0 --help" ;;
    esac
done
((jobs > 0)) || fail "$usage_error" "--jobs $jobs: must be 1 or more" "see $0 --help"

if [[ -z "$program" ]]; then
    "$repository/scripts/build.sh" >&2
    program="$repository/.build/release/cosmos-train"
fi
# Where files live in memory, they cost the disk nothing.
folder=/tmp
if [[ -w /dev/shm ]]; then folder=/dev/shm; fi
scratch="$(mktemp -d "$folder/cosmos-torture.XXXXXX")"
# What stays is the folders of cases that failed.
trap 'rm -rf "$scratch"/{base,shim.so,worker-*}; rmdir "$scratch" 2> /dev/null || true' EXIT
cc -O1 -shared -fPIC -o "$scratch/shim.so" "$repository/Tests/Torture/Shim.c" -ldl

unset OPENBLAS_CORETYPE
# A crash is told by its signal; walking the stack takes seconds.
export SWIFT_BACKTRACE=enable=no
perl "$repository/Tests/Torture/torture.pl" "$repository" "$program" "$scratch/shim.so" "$scratch" \
    "$minutes" "$seed" "$jobs" ${case[@]+"${case[@]}"}
