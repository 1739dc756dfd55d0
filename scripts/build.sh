#!/usr/bin/env bash
# Builds the release binary .build/release/cosmos-train for the CPU of this machine, after installing
# what is missing (see install_dependencies.sh).
#
# Usage: scripts/build.sh [option of 'swift build' ...]      for example: scripts/build.sh -j 2
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then print_help "$0" && exit; fi

"$repository/scripts/install_dependencies.sh" build
cd "$repository"
swift build -c release --traits Native --product cosmos-train "$@"
echo "Built .build/release/cosmos-train"
