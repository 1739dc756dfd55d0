#!/usr/bin/env bash
# Compares cosmos-train with PyTorch on this machine, side by side: Hugging Face's LlamaForCausalLM with SDPA and fused
# AdamW, eager and compiled; same shapes, threads and tokens. Prints tables with medians and spreads of ratios.
# Some 15 minutes and 16 GB of memory; progress on the error output.
#
# Usage: scripts/bench.sh [--venv FOLDER] [--rounds N] [--steps N] [--only ROW,...] [--authors FOLDER] [--out FILE.md]
#
#   --venv FOLDER   the virtual environment with torch and transformers (.venv in the repository); where it is
#                   named and is not there, it is made: some gigabytes from PyPI
#   --rounds N      how often each program takes its turn (5)
#   --steps N       training steps a turn (as many as take 4 seconds)
#   --only ROW,...  of 60m-bf16, 130m-bf16, 60m-fp32, 130m-fp32, adamw, muon, cosmos, soap, soap-renewal, gemm
#   --authors FOLDER
#                   a folder with muon.py of github.com/KellerJordan/Muon, soap.py of nikhilvyas/SOAP or COSMOS_optim.py of
#                   lliu606/COSMOS: their steps beside ours
#   --out FILE.md   write the tables to a file, too
#
# Rows in bf16 need a CPU with AVX-512 BF16 or AMX, and are left out elsewhere.
# Exit code 69 where the packages or these instructions are not there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

venv=""
arguments=()
while (($#)); do
    case "$1" in
        -h | --help) print_help "$0" && exit ;;
        --venv | --rounds | --steps | --only | --authors | --out)
            (($# > 1)) || fail "$usage_error" "$1 wants a value" "see $0 --help"
            if [[ "$1" == --rounds || "$1" == --steps ]] && [[ ! "$2" =~ ^[1-9][0-9]*$ ]]; then
                fail "$usage_error" "$1 $2: not a number from 1" "see $0 --help"
            fi
            if [[ "$1" == --venv ]]; then venv="$2"; else arguments+=("$1" "$2"); fi
            shift 2
            ;;
        *) fail "$usage_error" "unknown argument '$1'" "see $0 --help" ;;
    esac
done

if [[ -n "$venv" && ! -e "$venv" ]]; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet torch transformers
fi
venv="${venv:-$repository/.venv}"
if ! "$venv/bin/python" -c 'import torch, transformers' 2> /dev/null; then
    fail 69 "there is no Python with torch and transformers in $venv" \
        "name a folder that is not there yet with --venv, and it is made"
fi

# OpenBLAS chooses its own kernels, and both programs theirs.
unset OPENBLAS_CORETYPE
"$repository/scripts/build.sh" >&2
swift build -c release --traits "$(traits)" --package-path "$repository" --product cosmos-benchmarks >&2
exec "$venv/bin/python" -B "$repository/scripts/bench.py" --venv "$venv" "${arguments[@]}" \
    --program "$repository/.build/release/cosmos-train" \
    --benchmarks "$repository/.build/release/cosmos-benchmarks"
