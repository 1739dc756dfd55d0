#!/usr/bin/env bash
# Builds the release binary .build/release/cosmos-train for the CPU of this machine, after installing
# what is missing (see install_dependencies.sh).
#
# Usage: scripts/build.sh [--mpi] [option of 'swift build' ...]      for example: scripts/build.sh -j 2
#
#   --mpi   for runs on several machines, with Open MPI, which is installed; later builds keep it
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then print_help "$0" && exit; fi

if [[ "${1:-}" == --mpi ]]; then
    shift
    "$repository/scripts/install_dependencies.sh" mpi
    mkdir -p "$repository/.build"
    touch "$mpi_marker"
fi
"$repository/scripts/install_dependencies.sh" build
cd "$repository"
swift build -c release --traits "$(traits)" --product cosmos-train "$@"
echo "Built .build/release/cosmos-train"
