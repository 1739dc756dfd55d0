#!/usr/bin/env bash
# Draws the losses of runs: 'cosmos-train plot' of the release binary, which is built first where it is
# missing. Installs what makes PNG and PDF of it (see install_dependencies.sh).
#
# Usage: scripts/plot.sh RUN ... [-o FILE] ... [--over tokens|steps|time] [--validation-only] [--group]
#                        [--xlim LOW:HIGH] [--ylim LOW:HIGH]
#
#   RUN        a run's folder, a folder of runs such as a sweep's, or a log.csv
#   -o FILE    what to write, .svg, .png or .pdf; may be given many times (loss.svg in the current folder)
#
# 'cosmos-train plot --help' says more.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then print_help "$0" && exit; fi

if [[ "$*" == *.png* || "$*" == *.pdf* ]]; then "$repository/scripts/install_dependencies.sh" plot >&2; fi
program="$repository/.build/release/cosmos-train"
if [[ ! -x "$program" ]]; then "$repository/scripts/build.sh" >&2; fi
exec "$program" plot "$@"
