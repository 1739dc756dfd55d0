# shellcheck shell=bash
# Sourced by the scripts beside it: where the repository lies, how errors are printed.

# shellcheck disable=SC2034  # used by the scripts that source this file
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# Exit codes, the same as the program's: usage, data, input/output.
# shellcheck disable=SC2034
readonly usage_error=64 data_error=65 input_output_error=74

# fail CODE MESSAGE [HINT]: prints the error as the program does and leaves.
fail() {
    printf 'error: %s\n' "$2" >&2
    if (($# > 2)); then printf 'hint: %s\n' "$3" >&2; fi
    exit "$1"
}

# Where it lies, later builds are with MPI, too.
readonly mpi_marker="$repository/.build/mpi"

# The package traits of a build.
traits() { if [[ -e "$mpi_marker" ]]; then echo Native,MPI; else echo Native; fi; }

# The comment block at the top of a script is its help.
print_help() {
    sed -n '2,/^[^#]/ { /^#/ { s/^# \{0,1\}//; p; }; }' "$1"
}
