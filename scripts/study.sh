#!/usr/bin/env bash
# The study of docs/results/study.md, from the data to its report: every optimizer tuned alike, with seeds and tests.
# Made of the tool's own commands; it can be stopped or killed at any time, and the same command goes on.
#
# Usage: scripts/study.sh [--jobs N] [--shard k/n] [--out FOLDER] [PART ...]
#
#   --jobs N       runs at a time, of one thread each (default: all cores)
#   --shard k/n    the share of one of n machines; copy their folders into one, then run this again without it
#   --out FOLDER   where the runs go (default: runs/study)
#
# PARTs, all of them in this order where none is named:
#
#   data       corpus, tokenizer, token shards
#   short      six optimizers on 262,144 tokens: learning rates, then five seeds of the best ones
#              (on the way the lr that embedding, head and norm gains have under Muon, SOAP and COSMOS)
#   long       the same on 1,048,576 tokens
#   wide       the same on 1,048,576 tokens with the wide model
#   equal      AdamW, Adam-mini and GaLore with the others' lr of embedding, head and norm gains: short, long, wide
#   ablations  the paper's, short
#   variants   labelled variants of the optimizers, short
#   lengths    AdamW at further lengths
#   seconds    AdamW for as many seconds as COSMOS takes, short
#   wide-short six optimizers on 262,144 tokens with the wide model
#   times      seconds a step at the best settings, one run at a time: for a machine with nothing else to do
#   report     tables, plots and summary.csv, into docs/results/study
#
# Which runs follow from those that are made, scripts/study_grid.py says.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then print_help "$0" && exit; fi

jobs="$(nproc)"
out=runs/study
shard=()
while [[ "${1:-}" == --* ]]; do
    (($# > 1)) || fail "$usage_error" "$1 wants a value" "see $0 --help"
    case "$1" in
        --jobs) jobs="$2" ;;
        --shard) shard=(--shard "$2") ;;
        --out) out="$(realpath -ms "$2")" ;;
        *) fail "$usage_error" "unknown option '$1'" "see $0 --help" ;;
    esac
    shift 2
done
parts=("$@")
if ((${#parts[@]} == 0)); then
    parts=(data short long wide equal ablations variants lengths seconds wide-short times report)
fi

readonly stopped=75

cd "$repository"
program=.build/release/cosmos-train
if [[ ! -x $program ]]; then scripts/build.sh >&2; fi

# grid CONFIG FOLDER FILE STEPS [OPTION ...]: makes the runs of a grid, those that are missing. The long ones are validated on
# their way, too.
grid() {
    local every=0
    if (($4 == 1024)); then every=256; fi
    "$program" sweep --config "configs/studies/$1.cfg" --file "$3" --out "$out/$2" --jobs "$jobs" --threads 1 \
        --set "training.steps=$4" --set "evaluation.every=$every" "${shard[@]}" "${@:5}"
}

# tune SEEDS CONFIG FOLDER GRID STEPS [OPTION ...]: learning rates until the best lies inside, then this many seeds of the
# best one and its neighbours.
tune() {
    local seeds next last=
    for seeds in 1 "$1"; do
        while true; do
            next="$(python3 scripts/study_grid.py "configs/studies/$4.yaml" "$out/$3" "$seeds")"
            if [[ -z $next ]]; then break; fi
            if [[ $next == "$last" ]]; then
                fail "$stopped" "$out/$3 lacks runs, those of other shards" "when they are there, the same command goes on"
            fi
            mkdir -p "$out/grids/$(dirname "$3")"
            printf '%s\n' "$next" > "$out/grids/$3.yaml"
            grid "$2" "$3" "$out/grids/$3.yaml" "$5" --seeds "$seeds" "${@:6}"
            last="$next"
        done
        last=
    done
}

# adam_rate CONFIG NAME STEPS LR RATES: the lr of embedding, head and norm gains, with LR for AdamW's hidden matrices.
adam_rate() {
    grid "$1" "adam-rate/$2" configs/studies/adam-rate.yaml "$3" --seeds 1 --set "optimizer.lr=$4" \
        --vary "optimizer.adam.lr=$5"
}

# times CONFIG GRID FOLDER ROUND: each optimizer at its best setting of a folder, one after the other.
times() {
    mkdir -p "$out/grids/times"
    python3 scripts/study_grid.py "configs/studies/$2.yaml" "$out/$3" best > "$out/grids/times/$3.yaml"
    jobs=1 grid "$1" "times/$3/$4" "$out/grids/times/$3.yaml" 100 --seeds 1
}

ablations() {
    local length
    grid study ablations/update-size configs/studies/update-size.yaml 256 --seeds 3
    grid study ablations/rank-gamma configs/studies/rank-gamma.yaml 256 --seeds 3
    # As many tokens a batch at each length.
    for length in 64 512 1024; do
        tune 3 study "ablations/sequence-$length" sequence 256 --set "data.sequence_length=$length" \
            --set "training.batch_size=$((1024 / length))" --set "training.micro_batch_size=$((1024 / length))"
    done
}

make_data() {
    scripts/make_corpus.sh --size large data/large/text
    if [[ ! -e data/study/tokenizer.model ]]; then
        mkdir -p data/study
        "$program" tokenizer --input data/large/text/train.json.gz --output data/study/tokenizer.model --vocab-size 2048 \
            --model-type bpe --max-sentences 50000
    fi
    for name in train validation; do
        if compgen -G "data/study/$name/*.bin" > /dev/null; then continue; fi
        "$program" tokenize --tokenizer data/study/tokenizer.model --input "data/large/text/$name.json.gz" \
            --output "data/study/$name" --prefix "$name"
    done
}

# table NAME RUNS ... [OPTION ...]: compares runs, as a table for the text; says so where they are not finished.
table() {
    local status=0
    mkdir -p "$out/tables"
    "$program" compare "${@:2}" --format markdown --output "$out/tables/$1.md" --replace || status=$?
    if ((status == data_error)); then echo "$1 is not reported" >&2; elif ((status)); then return "$status"; fi
}

# contestants NAME [OPTION ...]: the table of a part, its page, and the plot of losses against learning rates.
contestants() {
    local folder="docs/results/study/$1"
    if [[ ! -e "$out/$1/summary.csv" ]]; then return 0; fi
    table "$1" "$out/$1" "${@:2}" --report "$folder.html" --plots "$folder"
    if [[ -d $folder ]]; then find "$folder" -name '*.svg' ! -name loss-lr.svg -delete; fi
}

report() {
    local name variants="$out/variants"
    # AdamW's runs of all other lengths.
    contestants short --adamw-runs "$out"/lengths/*/adamw-* "$out"/long/adamw-*
    contestants long --adamw-runs "$out"/lengths/*/adamw-* "$out"/short/adamw-*
    contestants wide
    contestants wide-short
    for name in short long wide; do
        if [[ -d "$out/$name-equal" ]]; then
            table "$name-equal" "$out/$name-equal" "$out/$name"/{muon,soap,cosmos}-*
        fi
    done
    if [[ -d $variants ]]; then
        table galore "$out"/{short,short-equal}/galore-* "$variants"/galore-* \
            --variants optimizer.adam.lr optimizer.rank optimizer.update_proj_gap
        table cosmos "$out"/short/cosmos-* "$variants"/cosmos-* --variants optimizer.gamma optimizer.rank
        table soap "$out"/short/soap-* "$variants"/soap-* --variants optimizer.sides
        table muon "$out"/short/{muon,cosmos}-* "$variants"/muon-* --variants optimizer.scale
    fi
    python3 scripts/study_report.py "$out" docs/results/study.md
}

for part in "${parts[@]}"; do
    case "$part" in
        data) make_data ;;
        short)
            adam_rate study short 256 4e-3 2e-3,4e-3,8e-3,1.6e-2,3.2e-2,6.4e-2,0.128,0.256
            tune 5 study short small 256
            ;;
        long)
            tune 5 study long small 1024
            adam_rate study long 1024 4e-3 3.2e-2,6.4e-2,0.128,0.256
            ;;
        wide)
            adam_rate wide wide 1024 2e-3 1.6e-2,3.2e-2,6.4e-2,0.128,0.256
            tune 5 wide wide wide 1024
            ;;
        wide-short) tune 5 wide wide-short wide 256 ;;
        equal)
            tune 5 study short-equal equal 256
            tune 5 study long-equal equal 1024
            tune 5 wide wide-equal wide-equal 1024
            ;;
        ablations) ablations ;;
        variants)
            for file in configs/studies/variants/*.yaml; do
                name="variants/$(basename "$file" .yaml)"
                tune 5 study "$name" "$name" 256
            done
            ;;
        lengths) for steps in 128 512 2048; do tune 3 study "lengths/$steps" lengths "$steps"; done ;;
        # COSMOS's step takes up to 1.2 times as long as AdamW's, as the report says.
        seconds) tune 5 study seconds seconds 308 ;;
        times)
            for round in 1 2 3; do
                times study small short "$round"
                times wide wide wide "$round"
            done
            ;;
        report) report ;;
        *) fail "$usage_error" "there is no part '$part'" "see $0 --help" ;;
    esac
done
