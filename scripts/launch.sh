#!/usr/bin/env bash
# Trains over several ranks, on this machine or on several: starts the program under Open MPI's mpirun, each rank bound to
# its share of the cores, neighbouring ranks side by side. The program must be built with scripts/build.sh --mpi.
#
# Usage: scripts/launch.sh [--ranks N] [--hosts FILE] [--interface NAME] [--program FILE] -- ARGUMENT ...
#
#   --ranks N          ranks in all, a power of two that divides training.gradient_lanes
#                      (a rank for every NUMA node or eight cores of each host)
#   --hosts FILE       a line a host: its name, reached by ssh without a password; this machine alone without it
#   --interface NAME   the network to use where there are several: an interface such as eth0, or 10.0.0.0/24 where its
#                      name differs from host to host
#   --program FILE     the program (.build/release/cosmos-train), at the same path on every host
#   ARGUMENT ...       what the program is given on every rank
#
# For example: scripts/launch.sh --ranks 4 -- --config configs/llama130m.cfg --set training.gradient_lanes=4 --resume auto
#
# Ctrl-C, SIGTERM, SIGHUP or SIGUSR1 to this script end the run with a checkpoint and exit code 75; the second one ends it
# at once. The exit code is the program's, or 128 and the signal that ended a rank. docs/scaling.md says more.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ranks=""
hosts=""
interface=""
program="$repository/.build/release/cosmos-train"
while (($#)); do
    case "$1" in
        -h | --help) print_help "$0" && exit ;;
        --) break ;;
        --ranks | --hosts | --interface | --program)
            (($# > 1)) || fail "$usage_error" "$1 wants a value" "see $0 --help"
            case "$1" in
                --ranks) ranks="$2" ;;
                --hosts) hosts="$2" ;;
                --interface) interface="$2" ;;
                --program) program="$(realpath "$2")" ;;
            esac
            shift 2
            ;;
        *) fail "$usage_error" "unknown argument '$1'" "what the program is given stands after --; see $0 --help" ;;
    esac
done
[[ "${1:-}" == -- ]] || fail "$usage_error" "nothing to start: no -- with the program's arguments" "see $0 --help"
shift
(($#)) || fail "$usage_error" "nothing stands after --" "for example: -- --config configs/llama130m.cfg"
if [[ -n "$ranks" && ! "$ranks" =~ ^[1-9][0-9]{0,4}$ ]]; then
    fail "$usage_error" "--ranks $ranks: not a number from 1 on" "see $0 --help"
fi
if [[ -n "$hosts" && ! -r "$hosts" ]]; then
    fail "$usage_error" "--hosts $hosts: cannot be read" "a file with the name of a host on each line"
fi

mpirun=""
for candidate in mpirun mpirun.openmpi; do
    if "$candidate" --version 2> /dev/null | grep -Eq 'Open ?(MPI|RTE)'; then mpirun="$candidate" && break; fi
done
[[ -n "$mpirun" ]] || fail "$input_output_error" "there is no mpirun of Open MPI" \
    "scripts/build.sh --mpi installs it and builds the program with it; on a cluster, load its module first"

mpi=("$mpirun")
if ((EUID == 0)); then mpi+=(--allow-run-as-root); fi
if [[ -n "$hosts" ]]; then mpi+=(--hostfile "$hosts"); fi
if [[ -n "$interface" ]]; then mpi+=(--mca btl_tcp_if_include "$interface" --mca oob_tcp_if_include "$interface"); fi
# In containers one process may often not read another's memory, which Open MPI finds out too late.
if [[ -e /.dockerenv || -e /run/.containerenv ]]; then
    export OMPI_MCA_btl_vader_single_copy_mechanism="${OMPI_MCA_btl_vader_single_copy_mechanism:-none}"
fi

# Of mpirun's own messages those that say nothing new are left out. In a session of its own nobody hears Ctrl-C.
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
exec {errors}> >(exec setsid sed -u -e '/^-\{70,80\}$/ { :more; N; /\n-\{70,80\}$/! b more
    /MPI_ABORT was invoked/ w '"$scratch/abort"'
    /Primary job *terminated normally\|exited with non-zero status\|MPI_ABORT was invoked/ d; }' \
    -e '/: Forwarding signal 10 to job$\|plm:rsh: Warning: setpgid\|sent help message\|orte_base_help_aggregate/ d' >&2)
filter=$!

# What a host has, on one line: its name, the physical cores and NUMA nodes that may be used, whether the program is there.
# Where there is no /sys, as in a bare change of root, lscpu knows nothing, and every processor counts as a core.
# shellcheck disable=SC2016  # the host expands it, not this shell
readonly probe='
    lscpu -p=cpu,core,socket,node 2> /dev/null | awk -F, -v host="$(uname -n)" -v program="$(test -x "$0" && echo yes || echo no)" \
        -v allowed="$(sed -n "s/^Cpus_allowed_list:[[:space:]]*//p" /proc/self/status)" "
        BEGIN {
            count = split(allowed, ranges, \",\")
            for (i = 1; i <= count; i++) {
                if (split(ranges[i], ends, \"-\") == 1) ends[2] = ends[1]
                for (cpu = ends[1]; cpu <= ends[2]; cpu++) usable[cpu]
            }
        }
        /^[0-9]/ && (\$1 in usable) { cores[\$2 \"/\" \$3]; nodes[\$4] }
        END {
            for (core in cores) c++
            for (node in nodes) n++
            if (!c) { for (cpu in usable) c++; n = 1 }
            print \"host\", host, c, n, program
        }"'
if [[ -z "$hosts" ]]; then
    found="$(sh -c "$probe" "$program")"
else
    found="$(timeout -k 5 120 "${mpi[@]}" --map-by ppr:1:node --bind-to none sh -c "$probe" "$program" < /dev/null 2>&"$errors")" ||
        fail "$input_output_error" "mpirun cannot start anything on the hosts of $hosts" \
            "its own message is above; each host needs Open MPI, ssh without a password and this folder, $PWD"
fi

# The weakest host decides.
host_count=0 cores=0 nodes=0
while read -r mark host host_cores host_nodes has_program; do
    [[ "$mark" == host ]] || continue
    [[ "$has_program" == yes ]] || fail "$usage_error" "there is no program $program on $host" \
        "scripts/build.sh --mpi builds it; every host needs it at that path"
    if ((host_count == 0 || host_cores < cores)); then cores=$host_cores; fi
    if ((host_count == 0 || host_nodes < nodes)); then nodes=$host_nodes; fi
    ((++host_count))
done <<< "$found"
((host_count > 0)) || fail "$input_output_error" "no host of $hosts answered" "mpirun's own message is above"

if [[ -z "$ranks" ]]; then
    wanted=$((nodes > cores / 8 ? nodes : cores / 8))
    per_host=1
    while ((per_host * 2 <= wanted)); do ((per_host *= 2)); done
    ranks=$((per_host * host_count))
fi
per_host=$((ranks / host_count))
if ((per_host * host_count != ranks || (ranks & (ranks - 1)) != 0)); then
    fail "$usage_error" "$ranks ranks on $host_count hosts: ranks must be a power of two, as many on each host" \
        "take 1, 2, 4, 8, ... hosts"
fi

mpi+=(--map-by "ppr:$per_host:node")
share=$((cores / per_host))
if ((share > 0)); then
    mpi[-1]+=":PE=$share"
    mpi+=(--bind-to core)
    echo "ranks: $ranks, hosts: $host_count, cores of a rank: $share" >&2
else
    mpi+=(--oversubscribe --bind-to core:overload-allowed)
    echo "ranks: $ranks, hosts: $host_count; warning: only $cores cores for the $per_host ranks of a host" >&2
fi

# mpirun sends SIGKILL a second after SIGTERM, too soon for a checkpoint; SIGUSR1 it passes on and waits. It hears of Ctrl-C
# through this script alone, and of the script's death by SIGUSR1.
setsid setpriv --pdeathsig USR1 "${mpi[@]}" "$program" "$@" < /dev/null 2>&"$errors" &
mpirun_process=$!
exec {errors}>&-

# A rank that gives up ends all, and mpirun then waits for hosts that nobody reaches.
abort_code() { sed -n 's/.*with errorcode \([0-9]*\)\..*/\1/p' "$scratch/abort" 2> /dev/null; }
{
    while kill -0 "$mpirun_process" 2> /dev/null; do
        sleep 1
        if [[ -n "$(abort_code)" ]]; then sleep 10 && kill -KILL "$mpirun_process"; fi
    done
} 2> /dev/null &
watcher=$!

stopping_since=""
was_signalled=""
# shellcheck disable=SC2317  # called by the traps
stop() {
    was_signalled=yes
    if [[ -z "$stopping_since" ]]; then
        stopping_since="$SECONDS"
        kill -USR1 "$mpirun_process" || true
    elif ((SECONDS > stopping_since + 1)); then
        # Batch systems signal a process and then its group, which is one wish.
        kill -TERM "$mpirun_process" || true
    fi
}
trap stop INT TERM HUP USR1
while true; do
    was_signalled="" code=0
    wait "$mpirun_process" 2> /dev/null || code=$?
    if [[ -z "$was_signalled" ]]; then break; fi
done
kill "$watcher" 2> /dev/null || true
# Ranks on this machine that hold it end with mpirun. It reads the abort's code last.
timeout 10 tail --pid="$filter" -f /dev/null || true
if ((code == 137)) && [[ -n "$(abort_code)" ]]; then code="$(abort_code)"; fi
exit "$code"
