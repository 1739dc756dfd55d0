#!/usr/bin/env bash
# Trains over MPI on a cluster that is not there, does to it what happens to clusters, and checks that each run ends in the
# bits of a run on one machine: four hosts in network namespaces of this machine, linked at a limited rate, with a Slurm of
# their own. Nothing leaves the namespaces, and all of it is taken away at the end.
#
# Usage: scripts/test_cluster.sh [--kills N] [--program FILE] [PART ...]
#
#   --kills N        how often a rank is killed (50)
#   --program FILE   the program (.build/release/cosmos-train, which is built first, with MPI)
#
# PARTs, all of them in this order where none is named:
#
#   refusals   hosts that differ, wrong launchers, a full disk: an error that says so, on all ranks
#   signals    SIGTERM, Ctrl-C, SIGHUP and SIGUSR1 to the launcher: a checkpoint and exit code 75
#   silence    a link that goes down, a rank that is stopped: named within training.communication_timeout
#   kills      ranks killed with SIGKILL at random moments: all ended within 10 seconds, the run goes on
#   slurm      the batch scripts: time limit, requeue, end; a job that is cancelled; an array of a sweep's runs
#   network    60M over 1 Gbit/s: seconds of communication beside the plan's and the line's, which wants idle cores
#
# It needs root and some ten minutes on four cores, and installs Slurm, munge and iproute2 where they are missing. Exit
# code 1 where a check failed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

kills=50
program=""
parts=()
while (($#)); do
    case "$1" in
        -h | --help) print_help "$0" && exit ;;
        --kills | --program)
            (($# > 1)) || fail "$usage_error" "$1 wants a value" "see $0 --help"
            case "$1" in
                --kills) kills="$2" ;;
                --program) program="$(realpath "$2")" ;;
            esac
            shift 2
            ;;
        refusals | signals | silence | kills | slurm | network) parts+=("$1") && shift ;;
        *) fail "$usage_error" "unknown argument '$1'" "see $0 --help" ;;
    esac
done
[[ "$kills" =~ ^[0-9]{1,4}$ ]] || fail "$usage_error" "--kills $kills: not a number" "see $0 --help"
if ((${#parts[@]} == 0)); then parts=(refusals signals silence kills slurm network); fi
((EUID == 0)) || fail "$usage_error" "network namespaces need root" "run it as root, on a machine where that is allowed"

"$repository/scripts/install_dependencies.sh" mpi cluster
cd "$repository"
if [[ -z "$program" ]]; then
    scripts/build.sh --mpi >&2
    # The file itself: its processes are found by it.
    program="$(realpath "$repository/.build/release/cosmos-train")"
fi
unset OPENBLAS_CORETYPE
scratch="$(mktemp -d /tmp/cosmos-cluster.XXXXXX)"
source Tests/Cluster/hosts.sh
source Tests/Cluster/slurm.sh
trap 'remove_hosts; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM HUP

failures=0
# check WHAT COMMAND ...: one line, and the output that $output names where it is not so.
output=""
check() {
    local what="$1"
    shift
    if "$@"; then
        printf '%02d:%02d  ok      %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$what"
    else
        printf '%02d:%02d  FAILED  %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$what"
        if [[ -n "$output" && -e "$output" ]]; then tail -n 30 "$output" | sed 's/^/    | /'; fi
        ((++failures))
    fi
}
says() { grep -Eq "$1" "$output"; }
says_once() { (($(grep -Ec "$1" "$output") == 1)); }
# between LOW VALUE HIGH, which may be fractions.
between() { awk -v low="$1" -v value="$2" -v high="$3" 'BEGIN { exit !(value != "" && low <= value && value <= high) }'; }

# What every run here trains on, and a run that lasts until something is done to it.
prepare() {
    cat README.md docs/*.md > "$scratch/text.txt"
    "$program" tokenizer --input "$scratch/text.txt" --output "$scratch/t.model" --vocab-size 500 > /dev/null 2>&1
    "$program" tokenize --tokenizer "$scratch/t.model" --input "$scratch/text.txt" --output "$scratch/tokens" > /dev/null 2>&1
    cat > "$scratch/run.cfg" << END
model: {hidden_size: 64, intermediate_size: 96, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2,
        vocab_size: 500, max_position_embeddings: 32}
data: {train: $scratch/tokens, validation: $scratch/tokens, tokenizer: $scratch/t.model, sequence_length: 32}
optimizer: {name: soap, precondition_frequency: 7}
training: {steps: 1500, batch_size: 16, micro_batch_size: 2, gradient_lanes: 8, threads: 1, communication_timeout: 10}
evaluation: {every: 50, tokens: 2000}
output: {run_dir: $scratch/runs/unnamed, checkpoint_every: 10}
END
    mkdir "$scratch/runs"
    "$program" --config "$scratch/run.cfg" --set "output.run_dir=$scratch/reference" > "$scratch/reference.txt" 2>&1
}

# same RUN [REFERENCE]: weights, optimizer state and losses, bit for bit.
same() {
    local run="$scratch/runs/$1" reference="${2:-$scratch/reference}" file
    for file in model.safetensors optimizer.safetensors; do
        cmp "$run/checkpoints/latest/$file" "$reference/checkpoints/latest/$file" || return 1
    done
    cmp <(cut -d, -f1-7 "$run/log.csv") <(cut -d, -f1-7 "$reference/log.csv")
}

# launch RANKS ARGUMENT ...: over the hosts of $scratch/hostfile, the launcher on node1.
launch() {
    local ranks="$1"
    shift
    on node1 env --default-signal=INT OMPI_MCA_plm_rsh_agent="$scratch/enter" OMPI_MCA_plm_rsh_no_tree_spawn=1 \
        scripts/launch.sh --ranks "$ranks" --hosts "$scratch/hostfile" --interface eth0 --program "$program" -- "$@"
}

# start NAME RANKS ARGUMENT ...: in the background, as `job`; what it says goes to `output`.
start() {
    local name="$1"
    shift
    output="$scratch/$name.txt"
    launch "$@" > "$output" 2>&1 &
    job=$!
}

# start_run RUN RANKS ARGUMENT ...: begins the run of run.cfg, or goes on with it.
start_run() { start "$1" "$2" --config "$scratch/run.cfg" --set "output.run_dir=$scratch/runs/$1" --resume auto "${@:3}"; }

# ended CODE SECONDS: whether the job ends so soon, with this code.
ended() {
    local code=0 begun="$SECONDS"
    while kill -0 "$job" 2> /dev/null && ((SECONDS - begun <= $2)); do sleep 0.1; done
    if kill -0 "$job" 2> /dev/null; then
        echo "    still there after $2 s"
        return 1
    fi
    wait "$job" || code=$?
    if ((code != $1)); then echo "    exit code $code"; fi
    ((code == $1))
}

# steps_of RUN: rows of its log.
steps_of() { if [[ -e "$scratch/runs/$1/log.csv" ]]; then grep -c '^[0-9]' "$scratch/runs/$1/log.csv"; else echo 0; fi; }

# wait_for_steps RUN N: until it has made so many, or has ended.
wait_for_steps() {
    while kill -0 "$job" 2> /dev/null && (($(steps_of "$1") < $2)); do sleep 0.1; done
}

ranks_left() { for host in "${hosts[@]}"; do processes_on "$host" "$program"; done; }
none_left() {
    for ((i = 0; i < 10 * $1; i++)); do
        if [[ -z "$(ranks_left)" ]]; then return; fi
        sleep 0.1
    done
    return 1
}

# column NAME FILE: the values of a column of a CSV file.
column() { awk -F, -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i; next } c { print $c }' "$2"; }

part_refusals() {
    local kept
    kept="$(cat "$scratch/node3.mounts")"
    sed 's/precondition_frequency: 7/precondition_frequency: 8/' "$scratch/run.cfg" > "$scratch/other.cfg"
    hide node3 "$scratch/run.cfg" "$scratch/other.cfg"
    start_run refused 4
    check "another configuration on node3 ends all ranks with 64" ended 64 30
    check "... and both values are named, with the host" says 'node3.*precondition_frequency|precondition_frequency.*node3'
    echo "$kept" > "$scratch/node3.mounts"

    head -n 300 "$scratch/text.txt" > "$scratch/other.txt"
    "$program" tokenize --tokenizer "$scratch/t.model" --input "$scratch/other.txt" --output "$scratch/other" > /dev/null 2>&1
    hide node3 "$scratch/tokens" "$scratch/other"
    start_run refused 4
    check "other data on node3 end all ranks with 64" ended 64 30
    check "... and the host is named" says 'node3'
    echo "$kept" > "$scratch/node3.mounts"

    echo "export OPENBLAS_CORETYPE=Sandybridge" >> "$scratch/node3.mounts"
    start_run refused 4
    check "another OpenBLAS core on node3 ends all ranks with 64" ended 64 30
    check "... and both cores are named, with the host" says 'node3.*Sandybridge|Sandybridge.*node3'
    echo "$kept" > "$scratch/node3.mounts"

    start_run refused 4 --set training.gradient_lanes=2
    check "four ranks for two lanes are refused with 64" ended 64 30
    check "... in one message" says_once '^error: '
    check "no folder is left of runs that were refused" test ! -e "$scratch/runs/refused"

    mkdir "$scratch/small"
    mount -t tmpfs -o size=9m cosmos "$scratch/small"
    start_run disk 4 --set "output.run_dir=$scratch/small/run"
    check "a full disk ends all ranks with 74" ended 74 60
    check "... in one message" says_once '^error: (no room|.*No space left)'
    check "... and no rank is left" none_left 10
    mount -o remount,size=100m "$scratch/small"
    start_run disk 4 --set "output.run_dir=$scratch/small/run"
    check "with space, the run goes on to its end" ended 0 300
    ln -s ../small/run "$scratch/runs/disk"
    check "... in the same bits" same disk
    umount "$scratch/small"
}

part_signals() {
    local signal steps=0
    for signal in TERM INT HUP USR1; do
        start_run signals 4
        wait_for_steps signals $((steps + 20))
        pkill "-$signal" -P "$job"
        check "SIG$signal: a checkpoint, exit code 75" ended 75 30
        check "... and no rank is left" none_left 10
        steps="$(steps_of signals)"
    done
    start_run signals 8
    check "eight ranks go on to the end" ended 0 300
    check "... in the same bits" same signals
}

part_silence() {
    local victim begun
    start_run link 4
    wait_for_steps link 20
    set_link node3 down
    begun="$SECONDS"
    check "node3's link goes down: ended with 74" ended 74 40
    check "... by the watchdog, in $((SECONDS - begun)) s" says 'node3'
    check "... on node3, too" none_left 30
    set_link node3 up
    # It takes a moment.
    sleep 3
    start_run link 4
    wait_for_steps link $(($(steps_of link) + 20))
    victim="$(processes_on node2 "$program")"
    kill -STOP "$victim"
    begun="$SECONDS"
    check "the rank on node2 is stopped: ended with 74" ended 74 40
    check "... by the watchdog, in $((SECONDS - begun)) s" says 'node2'
    check "... and no rank is left" none_left 10
    start_run link 4
    check "the run goes on to its end" ended 0 300
    check "... in the same bits" same link
}

part_kills() {
    local killed=0 code victims begun worst=0 whole=0 wrong=0 late=0 others=0
    while ((killed < kills && others < 10)); do
        start_run kills 4
        while kill -0 "$job" 2> /dev/null && [[ -z "$(ranks_left)" ]]; do sleep 0.1; done
        # Some die before they have begun, some in their first steps.
        sleep "$((RANDOM % 5)).$((RANDOM % 10))"
        mapfile -t victims < <(ranks_left)
        if ((${#victims[@]} > 0)) && kill -KILL "${victims[RANDOM % ${#victims[@]}]}" 2> /dev/null; then
            ((++killed))
            begun="$SECONDS"
            none_left 60 || true
            if ((SECONDS - begun > worst)); then worst=$((SECONDS - begun)); fi
            if ((SECONDS - begun > 10)); then ((++late)); fi
        fi
        code=0
        wait "$job" || code=$?
        if ((code == 0)); then
            same kills || ((++wrong))
            rm -rf "$scratch/runs/kills"
            ((++whole))
        elif ((code != 137)); then
            ((++others))
            echo "    kill $killed: exit code $code"
            tail -n 5 "$output" | sed 's/^/    | /'
        fi
    done
    check "$killed ranks killed: all ended within 10 s (the slowest within $worst s)" test "$late" = 0
    check "... with exit code 137" test "$others" = 0
    start_run kills 4
    check "the run goes on to its end" ended 0 300
    check "... in the same bits, and so did the $whole runs that ended before" same kills
    check "... all of them" test "$wrong" = 0
}

# submit NAME TIME ARGUMENT ...: the run of run.cfg as a job on two nodes, `job`.
submit() {
    output="$scratch/$1.txt"
    job="$(on node1 sbatch --parsable --nodes=2 --ntasks-per-node=2 --cpus-per-task=1 "--time=$2" --signal=USR1@60 \
        "--output=$output" scripts/slurm/train.sbatch "$scratch/run.cfg" --set "output.run_dir=$scratch/runs/$1" "${@:3}")"
}

part_slurm() {
    local requeues=0 element i code=0 steps own="$PWD/.build/release/cosmos-train"
    # The batch scripts know one program.
    if [[ ! "$program" -ef "$own" ]]; then
        mkdir -p "$(dirname "$own")" && touch "$own"
        for host in "${hosts[@]}"; do hide "$host" "$own" "$program"; done
    fi
    start_slurm
    submit slurm 10 --set training.steps=60
    check "train.sbatch starts on two nodes, and ends" wait_for_state "$job" "" 120
    # What takes a minute and a half, of which the time limit leaves one.
    steps="$(column step_seconds "$scratch/runs/slurm/log.csv" | sort -n | awk '{ s[NR] = $1 } END { print int(90 / s[int(NR / 2)]) }')"
    "$program" --config "$scratch/run.cfg" --set "training.steps=$steps" --set "output.run_dir=$scratch/long" > /dev/null 2>&1
    submit limit 2 --set "training.steps=$steps"
    check "a run of $steps steps, with a time limit of 2 minutes, starts" wait_for_state "$job" RUNNING 60
    for ((i = 0; i < 600; i++)); do
        case "$(job_state "$job")" in
            "") break ;;
            PENDING)
                ((++requeues))
                # What is left of its ranks must be gone.
                sleep 10
                start_now "$job"
                wait_for_state "$job" RUNNING 60 || break
                ;;
        esac
        sleep 0.5
    done
    check "the time limit came: queued again ($requeues times)" test "$requeues" -ge 1
    check "... each time with a checkpoint" test "$(grep -c 'continue with --resume' "$output")" = "$requeues"
    check "it ends in the same bits" same limit "$scratch/long"

    submit cancel 5 --set training.steps=100000
    wait_for_state "$job" RUNNING 60
    while (($(steps_of cancel) < 20)) && [[ -n "$(job_state "$job")" ]]; do sleep 0.2; done
    on node1 scancel "$job"
    check "a job that is cancelled ends" wait_for_state "$job" "" 60
    sleep 5
    check "... and is not queued again" test -z "$(job_state "$job")"
    check "... with a checkpoint" test -e "$scratch/runs/cancel/checkpoints/latest/trainer.json"

    output="$scratch/slurm-launcher.txt"
    on node1 srun --mpi=none --ntasks=2 "$program" --config "$scratch/run.cfg" > "$output" 2>&1 || code=$?
    check "srun without MPI starts no run" test "$code" != 0 -a ! -e "$scratch/runs/unnamed"

    output="$scratch/slurm-sweep-1.txt"
    job="$(on node1 sbatch --parsable --array=1-4 --cpus-per-task=1 --time=5 --signal=B:USR1@60 "--output=$scratch/slurm-sweep-%a.txt" \
        scripts/slurm/sweep.sbatch --config "$scratch/run.cfg" --set training.steps=200 \
        --vary optimizer.name=adamw,muon --vary optimizer.lr=1e-3,2e-3,4e-3 --out "$scratch/sweep")"
    check "the array of a sweep ends" wait_for_state "$job" "" 120
    check "... with six runs, all finished" test "$(cut -d, -f2 "$scratch/sweep/summary.csv" | grep -c finished)" = 6
    for element in 1 2 3 4; do cat "$scratch/slurm-sweep-$element.txt"; done > "$scratch/slurm-sweep.txt"
    output="$scratch/slurm-sweep.txt"
    check "... each made once" test "$(grep -c ' started ' "$output")" = 6
}

part_network() {
    local training=(configs/llama60m.cfg --set "data.train=$scratch/tokens" --set data.validation=null
        --set "data.tokenizer=$scratch/t.model" --set training.steps=6 --set training.batch_size=4 --set training.micro_batch_size=1
        --set training.gradient_lanes=4 --set training.threads=1 --set schedule.warmup=1
        --set "output.run_dir=$scratch/runs/60m")
    local before sent seconds planned share
    planned="$("$program" plan "${training[@]}" --ranks 4 --network 1 --no-probe --json |
        sed -n 's/.*"communication_seconds" : \([0-9]*\.[0-9]\{3\}\).*/\1/p')"
    limit_rate 1000
    before="$(bytes_sent node2)"
    start 60m 4 --config "${training[@]}"
    check "60M on four hosts trains" ended 0 400
    sent=$((($(bytes_sent node2) - before) / 6))
    limit_rate 10000
    seconds="$(column communication_seconds "$scratch/runs/60m/log.csv" | sort -n | sed -n 3p)"
    share="$(awk -v bytes="$sent" -v seconds="$seconds" 'BEGIN { printf "%.2f", bytes / seconds / 125e6 }')"
    check "communication: $seconds s a step beside $planned s of the plan (within 15 %)" \
        between "$(awk "BEGIN { print 0.85 * $planned }")" "$seconds" "$(awk "BEGIN { print 1.15 * $planned }")"
    check "$((sent / 1000000)) MB a step and host, $share of the line's rate (at least 0.60)" between 0.6 "$share" 1
}

make_hosts 4
limit_rate 10000
for host in "${hosts[@]}"; do
    echo "$host" >> "$scratch/hostfile"
    # The run's folder is the first host's: there need be no shared file system for it.
    if [[ "$host" != node1 ]]; then hide "$host" "$scratch/runs"; fi
done
prepare
for part in "${parts[@]}"; do
    echo "== $part"
    "part_$part"
done
if ((failures > 0)); then
    echo "$failures checks failed"
    exit 1
fi
echo "all checks passed"
