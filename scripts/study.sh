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
#   variants   labelled variants of the optimizers, short
#   lengths    AdamW at further lengths
#   ablations  the paper's
#   seconds    AdamW for as many seconds as COSMOS takes, short
#   long-equal AdamW, Adam-mini and GaLore with the others' lr of embedding, head and norm gains, long
#   more-seeds of lengths and ablations
#   times      seconds a step at the best settings, one run at a time: for a machine with nothing else to do
#   report     tables, plots and summary.csv, into docs/results/study
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
if ((${#parts[@]} == 0)); then parts=(data short long variants lengths ablations seconds long-equal more-seeds times report); fi

cd "$repository"
program=.build/release/cosmos-train
if [[ ! -x $program ]]; then scripts/build.sh >&2; fi

# grid FOLDER FILE [OPTION ...]: makes the runs of a grid, those that are missing.
grid() {
    "$program" sweep --config configs/studies/study.cfg --file "configs/studies/$2" --out "$out/$1" \
        --jobs "$jobs" --threads 1 "${shard[@]}" "${@:3}"
}

# short FOLDER FILE [OPTION ...]: 256 steps, validated at their end.
short() { grid "$@" --set training.steps=256 --set evaluation.every=0; }

# long FOLDER FILE [OPTION ...]: 1,024 steps.
long() { grid "$@" --set training.steps=1024; }

lengths() { # SEEDS
    local steps
    for steps in 128 512; do
        grid "lengths/$steps" lengths.yaml --seeds "$1" --set "training.steps=$steps" --set evaluation.every=0
    done
}

ablations() { # SEEDS
    local length
    short ablations/rank-gamma rank-gamma.yaml --seeds "$1"
    # As many tokens a batch at each length.
    for length in 64 1024; do
        short "ablations/sequence-$length" sequence.yaml --seeds "$1" --set "data.sequence_length=$length" \
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

# table NAME FOLDER ... [OPTION ...]: compares runs, as a page, as plots and as a table for the text; says so where they
# are not finished. Times are of a machine that was shared: their plot is left away.
table() {
    local status=0 folder="docs/results/study/$1"
    mkdir -p "$out/tables"
    "$program" compare "${@:2}" --format markdown --output "$out/tables/$1.md" --report "$folder.html" \
        --plots "$folder" --replace || status=$?
    if ((status == 0)); then rm -f "$folder/loss-time.svg"; fi
    if ((status == data_error)); then echo "$1 is not reported" >&2; elif ((status)); then return "$status"; fi
}

report() {
    local name variants="$out/variants"
    for name in short long; do
        # AdamW's runs of the other lengths.
        local others=("$out"/lengths/*/adamw-*)
        if [[ $name == short ]]; then others+=("$out"/long/adamw-*); else others+=("$out"/short/adamw-*); fi
        if [[ -e "$out/$name/summary.csv" ]]; then table "$name" "$out/$name" --adamw-runs "${others[@]}"; fi
    done
    if [[ -d "$out/long-equal" ]]; then table long-equal "$out/long-equal" "$out"/long/{muon,soap,cosmos}-*; fi
    if [[ -d $variants ]]; then
        table equal "$variants"/{adamw,adam_mini,galore}-adam "$out"/short/{muon,soap,cosmos}-*
        table galore "$out"/short/galore-* "$variants"/galore-* \
            --variants optimizer.adam.lr optimizer.rank optimizer.update_proj_gap
        table cosmos "$out"/short/cosmos-* "$variants"/cosmos-* --variants optimizer.gamma optimizer.rank
        table soap "$out"/short/soap-* "$variants"/soap-* --variants optimizer.sides
        table muon "$out"/short/muon-* "$variants"/muon-* --variants optimizer.scale
    fi
    if [[ -d "$out/ablations" ]]; then
        table rank-gamma "$out/ablations/rank-gamma" --variants optimizer.rank optimizer.gamma
        for name in 64 1024; do
            if [[ -d "$out/ablations/sequence-$name" ]]; then table "sequence-$name" "$out/ablations/sequence-$name"; fi
        done
    fi
    python3 scripts/study_report.py "$out" docs/results/study.md
}

for part in "${parts[@]}"; do
    case "$part" in
        data) make_data ;;
        short)
            short short rates-1.yaml --seeds 1
            short adam-rate adam-rate.yaml --seeds 1
            short short rates-2.yaml --seeds 1
            short short short-seeds.yaml --seeds 5
            ;;
        long)
            long long rates-1.yaml --seeds 1
            long long rates-2.yaml --seeds 1
            long long long-best.yaml --seeds 5
            ;;
        variants)
            for file in configs/studies/variants/*.yaml; do
                name="$(basename "$file" .yaml)"
                short "variants/$name" "variants/$name.yaml" --seeds 1
                if [[ -e "configs/studies/variants/seeds/$name.yaml" ]]; then
                    short "variants/$name" "variants/seeds/$name.yaml" --seeds 5
                fi
            done
            ;;
        lengths) lengths 1 ;;
        ablations) ablations 1 ;;
        seconds) grid seconds seconds.yaml --seeds 5 --set training.steps=308 --set evaluation.every=0 ;;
        long-equal)
            long long-equal long-equal.yaml --seeds 1
            long long-equal long-equal-best.yaml --seeds 5
            ;;
        more-seeds)
            ablations 3
            lengths 3
            ;;
        times)
            for round in 1 2 3; do
                jobs=1 grid "times/$round" times.yaml --seeds 1 --set training.steps=100 --set evaluation.every=0
            done
            ;;
        report) report ;;
        *) fail "$usage_error" "there is no part '$part'" "see $0 --help" ;;
    esac
done
