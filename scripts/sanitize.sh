#!/usr/bin/env bash
# Builds everything under AddressSanitizer and ThreadSanitizer, in release mode, and runs the test suite and a short
# training with each optimizer on 1, 3 and 16 workers. Any report of any process is a failure.
#
# Usage: scripts/sanitize.sh [--only address|thread] [option of 'swift test' ...]
#
# For example: scripts/sanitize.sh --only thread --filter TrainingTests
#
# It wants about half an hour on four idle cores. Builds and reports stay in .build-address and .build-thread.
# Tests/Sanitizers holds what the sanitizers are told, each with its reason: leaks of Foundation, and how Swift's Mutex
# waits. Tests that judge time or memory are left out: they would judge the sanitizer's.
# Exit code 1 where there was a report or a test failed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then print_help "$0" && exit; fi

sanitizers=(address thread)
if [[ "${1:-}" == --only ]]; then
    case "${2:-}" in
        address | thread) sanitizers=("$2") ;;
        *) fail "$usage_error" "--only wants 'address' or 'thread'" "see $0 --help" ;;
    esac
    shift 2
fi

"$repository/scripts/install_dependencies.sh" build plot download corpus
cd "$repository"
unset OPENBLAS_CORETYPE

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cat README.md docs/*.md > "$folder/text.txt"

# say TEXT: what is done now, with the time since the start.
say() { printf '%02d:%02d  %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$1" >&2; }

# sanitized_test SANITIZER [option ...]: 'swift test' with the flags of test.sh.
sanitized_test() {
    local sanitizer="$1"
    shift
    swift test -c release --traits Native --disable-xctest --disable-testable-imports \
        --sanitize "$sanitizer" --scratch-path ".build-$sanitizer" "$@"
}

# train SANITIZER: the program from a text to a trained model, with each optimizer.
train() {
    local program="$repository/.build-$1/release/cosmos-train" data="$folder/$1" optimizer threads
    "$program" tokenizer --input "$folder/text.txt" --output "$data.model" --vocab-size 500 || return 1
    "$program" tokenize --tokenizer "$data.model" --input "$folder/text.txt" --output "$data" || return 1
    # With ranks below the matrices' sizes, and bases that are renewed within the run.
    for optimizer in adamw muon 'soap, precondition_frequency: 3' 'galore, rank: 16, update_proj_gap: 5' adam_mini \
        'cosmos, rank: 16'; do
        for threads in 1 3 16; do
            say "$1: training with ${optimizer%%,*} on $threads workers"
            cat > "$folder/run.cfg" << END
model: {hidden_size: 64, intermediate_size: 96, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2,
        vocab_size: 500, max_position_embeddings: 32}
data: {train: $data, validation: $data, tokenizer: $data.model, sequence_length: 32}
optimizer: {name: $optimizer}
training: {steps: 12, batch_size: 8, micro_batch_size: 4, threads: $threads}
evaluation: {every: 4, tokens: 1000}
output: {run_dir: $folder/$1-${optimizer%%,*}-$threads, checkpoint_every: 5, tensorboard: true}
END
            "$program" --config "$folder/run.cfg" > /dev/null || return 1
        done
    done
}

failures=()
for sanitizer in "${sanitizers[@]}"; do
    say "$sanitizer: building"
    sanitized_test "$sanitizer" --filter 'none: only build' >&2

    # Reports go to files, whoever's they are, and change no exit code: a test must not take them for the program's.
    reports="$repository/.build-$sanitizer/reports"
    rm -rf "$reports"
    mkdir "$reports"
    options="log_path=$reports/report:exitcode=0"
    case "$sanitizer" in
        address)
            environment=(ASAN_OPTIONS="$options" "LSAN_OPTIONS=print_suppressions=0:suppressions=$repository/Tests/Sanitizers/leak.txt")
            ;;
        thread)
            clang -O1 -shared -fPIC -o "$reports/../mutex.so" Tests/Sanitizers/mutex.c -ldl
            environment=(TSAN_OPTIONS="$options" LD_PRELOAD="$repository/.build-$sanitizer/mutex.so")
            ;;
    esac
    export "${environment[@]}"
    train "$sanitizer" || failures+=("$sanitizer: a training failed")
    say "$sanitizer: running the tests"
    sanitized_test "$sanitizer" --skip-build "$@" || failures+=("$sanitizer: tests failed")
    if [[ "$sanitizer" == thread ]] && (($# == 0)); then
        for workers in 1 3 16; do
            say "$sanitizer: running what shares out work, on $workers workers"
            COSMOS_TEST_WORKERS="$workers" sanitized_test "$sanitizer" --skip-build \
                --filter 'TensorCoreTests|LLaMATests|OptimizersTests|TrainingTests' ||
                failures+=("$sanitizer: tests on $workers workers failed")
        done
    fi
    unset ASAN_OPTIONS LSAN_OPTIONS TSAN_OPTIONS LD_PRELOAD

    count="$(find "$reports" -name 'report.*' | wc -l)"
    if ((count > 0)); then
        failures+=("$sanitizer: $count processes with reports, in $reports")
        cat "$reports"/report.* | grep '^ *SUMMARY: ' | sort | uniq -c | sort -rn >&2
    fi
done

if ((${#failures[@]} > 0)); then
    printf '%s\n' "${failures[@]}" >&2
    exit 1
fi
say "clean: ${sanitizers[*]}"
