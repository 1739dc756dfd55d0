#!/usr/bin/env bash
# Trains every combination of settings and seeds, each run in its own folder: 'cosmos-train sweep' of the
# release binary, which is built first where it is missing. The sweep can be stopped and goes on with the same command.
#
# Usage: scripts/sweep.sh --config FILE --vary KEY=A,B ... [--file GRIDS] [--set KEY=A ...] [--seeds N] --out FOLDER [--jobs N] [--dry-run]
#
# For example: scripts/sweep.sh --config configs/quickstart.cfg --vary optimizer.name=adamw,cosmos \
#                  --vary optimizer.lr=1e-3,2e-3 --seeds 3 --out runs/sweep1
# 'cosmos-train sweep --help' says more; 'cosmos-train compare runs/sweep1' then compares the optimizers.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then print_help "$0" && exit; fi

program="$repository/.build/release/cosmos-train"
if [[ ! -x "$program" ]]; then "$repository/scripts/build.sh" >&2; fi
exec "$program" sweep "$@"
