#!/usr/bin/env bash
# Checks against Hugging Face's transformers that models go both ways: our checkpoints load there with
# our logits and tokenize every text as we do, models made there load here with theirs. Also reads
# TensorBoard's event files back with its own package. The tokenizers learn from the quickstart's text.
#
# Usage: scripts/check_huggingface.sh [--install] [--tokenizers] [--venv FOLDER] [--model FOLDER]
#                                     [--fixtures FOLDER]
#
#   --install          make the virtual environment, or complete it: torch, transformers and others from PyPI,
#                      some gigabytes
#   --tokenizers       check tokenizers alone, which needs no torch
#   --venv FOLDER      the virtual environment (.venv in the repository)
#   --model FOLDER     check this run, checkpoint or exported model as well
#   --fixtures FOLDER  write the small models that Tests/CheckpointsTests/Fixtures holds to FOLDER, and stop
#
# Exit code 69 where the packages are not there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

packages=(transformers sentencepiece protobuf tokenizers numpy pyarrow)
venv="$repository/.venv"
install=false
only_tokenizers=false
model=()
arguments=()
while (($#)); do
    case "$1" in
        -h | --help) print_help "$0" && exit ;;
        --install) install=true && shift ;;
        --tokenizers) only_tokenizers=true && shift ;;
        --venv | --model | --fixtures)
            (($# > 1)) || fail "$usage_error" "$1 wants a folder" "see $0 --help"
            if [[ "$1" == --venv ]]; then venv="$2"; else arguments+=("$1" "$(realpath -m "$2")"); fi
            if [[ "$1" == --model ]]; then model=("${arguments[@]: -2}"); fi
            shift 2
            ;;
        *) fail "$usage_error" "unknown argument '$1'" "see $0 --help" ;;
    esac
done

$only_tokenizers || packages+=(torch safetensors tensorboard)
if $install; then
    [[ -x "$venv/bin/python" ]] || python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --upgrade "${packages[@]}"
fi
# The package protobuf is imported by another name.
if ! "$venv/bin/python" -c "$(printf 'import %s\n' "${packages[@]/protobuf/google.protobuf}")" 2> /dev/null; then
    fail 69 "there is no Python with ${packages[*]} in $venv" "run $0 --install, or name another environment with --venv"
fi
"$repository/scripts/build.sh"
export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error
program="$repository/.build/release/cosmos-train"
if [[ " ${arguments[*]} " != *" --fixtures "* ]]; then
    "$repository/scripts/make_corpus.sh" > /dev/null
    "$venv/bin/python" "$repository/scripts/check_tokenizers.py" --program "$program" \
        --corpus "$repository/data/quickstart/text/train.json.gz" "${model[@]}"
fi
$only_tokenizers || exec "$venv/bin/python" "$repository/scripts/check_huggingface.py" --program "$program" "${arguments[@]}"
