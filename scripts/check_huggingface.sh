#!/usr/bin/env bash
# Checks against Hugging Face's transformers that models go both ways: our checkpoints load there with
# our logits and our tokenizer, models made there load here with theirs. Also reads TensorBoard's event
# files back with its own package.
#
# Usage: scripts/check_huggingface.sh [--install] [--venv FOLDER] [--model FOLDER] [--fixtures FOLDER]
#
#   --install          make the virtual environment, or complete it: torch, transformers and others from PyPI,
#                      some gigabytes
#   --venv FOLDER      the virtual environment (.venv in the repository)
#   --model FOLDER     check this run, checkpoint or exported model as well
#   --fixtures FOLDER  write the small models that Tests/TrainingTests/Fixtures holds to FOLDER, and stop
#
# Exit code 69 where the packages are not there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

readonly packages=(torch transformers safetensors sentencepiece protobuf tokenizers tensorboard)
venv="$repository/.venv"
install=false
arguments=()
while (($#)); do
    case "$1" in
        -h | --help) print_help "$0" && exit ;;
        --install) install=true && shift ;;
        --venv | --model | --fixtures)
            (($# > 1)) || fail "$usage_error" "$1 wants a folder" "see $0 --help"
            if [[ "$1" == --venv ]]; then venv="$2"; else arguments+=("$1" "$(realpath -m "$2")"); fi
            shift 2
            ;;
        *) fail "$usage_error" "unknown argument '$1'" "see $0 --help" ;;
    esac
done

if $install; then
    [[ -x "$venv/bin/python" ]] || python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --upgrade "${packages[@]}"
fi
if ! "$venv/bin/python" -c 'import torch, transformers, safetensors, sentencepiece, tensorboard' 2> /dev/null; then
    fail 69 "there is no Python with ${packages[*]} in $venv" "run $0 --install, or name another environment with --venv"
fi
"$repository/scripts/build.sh"
export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error
exec "$venv/bin/python" "$repository/scripts/check_huggingface.py" \
    --program "$repository/.build/release/cosmos-train" "${arguments[@]}"
