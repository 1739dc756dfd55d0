#!/usr/bin/env bash
# Runs every test, from a fresh clone too: installs what is missing, builds in release mode with the
# flags of build.sh (the kernels are a hundred times slower in a debug build), runs 'swift test'.
#
# Usage: scripts/test.sh [option of 'swift test' ...]        for example: scripts/test.sh --filter OptimizersTests
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then print_help "$0" && exit; fi

# Without testable imports the modules are compiled as build.sh compiles them: nothing is built twice,
# and what is tested is what runs. Tests reach what is not public through 'package' access.
# Tests of the scripts draw plots and download from a server of their own.
"$repository/scripts/install_dependencies.sh" build plot download corpus
# A run of everything starts mpirun, too.
if (($# == 0)); then
    "$repository/scripts/install_dependencies.sh" mpi
    mkdir -p "$repository/.build"
    touch "$mpi_marker"
fi
cd "$repository"
swift test -c release --traits "$(traits)" --disable-xctest --disable-testable-imports "$@"

# A run of everything also puts the program through a minute of what goes wrong in life, and checks the exchange of
# models with transformers, where check_huggingface.sh --install has put it.
if (($# == 0)); then
    scripts/torture.sh --minutes 1 --seed 1 --program .build/release/cosmos-train
    if [[ -x .venv/bin/python ]]; then scripts/check_huggingface.sh; fi
fi
