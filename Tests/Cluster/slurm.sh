# shellcheck shell=bash disable=SC2154  # the caller and hosts.sh set scratch, cluster, hosts
# Sourced by scripts/test_cluster.sh after hosts.sh: a real Slurm on the hosts that are not there. The controller runs on
# node1, a slurmd on every host. Nothing of it lies outside of scratch, and it has nothing to do with a Slurm of the
# machine's own.

start_slurm() {
    local host folder="$scratch/slurm" addresses
    addresses="$(for host in "${hosts[@]}"; do address_of "$host"; done | paste -sd,)"
    mkdir -p "$folder/state"
    # Munge trusts no folder that others may write to.
    chmod 755 "$scratch" "$folder"
    (umask 077 && head -c 128 /dev/urandom > "$folder/munge.key")
    cat > "$folder/slurm.conf" << END
ClusterName=$cluster
SlurmctldHost=node1($(address_of node1))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/%n
TmpFS=$folder/%n/tmp
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobCompType=jobcomp/none
ReturnToService=2
MaxArraySize=100
KillWait=20
NodeName=$(IFS=,; echo "${hosts[*]}") NodeAddr=$addresses CPUs=$(nproc) Sockets=1 CoresPerSocket=$(nproc) RealMemory=1000
PartitionName=all Nodes=ALL Default=YES MaxTime=60
END
    # Nothing here uses control groups. The version is named because it cannot be told where they are not mounted.
    printf '%s\n' CgroupPlugin=cgroup/v1 "CgroupMountpoint=$folder/cgroup" > "$folder/cgroup.conf"
    export SLURM_CONF="$folder/slurm.conf"
    # On a host, too: so it goes with the host.
    on node1 munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
        --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munge.seed"
    on node1 slurmctld -D > "$folder/slurmctld.out" 2>&1 &
    for host in "${hosts[@]}"; do
        mkdir -p "$folder/$host/tmp"
        on "$host" slurmd -D -N "$host" > "$folder/$host.out" 2>&1 &
    done
    for ((i = 0; i < 60; i++)); do
        if [[ "$(on node1 sinfo -h -t idle -o %D 2> /dev/null)" == "${#hosts[@]}" ]]; then return; fi
        sleep 0.5
    done
    tail -n 20 "$folder"/*.log >&2
    return 1
}

# job_state JOB: RUNNING, PENDING ...; nothing where it has ended.
job_state() { on node1 squeue -h -j "$1" -o %T 2> /dev/null || true; }

# wait_for_state JOB STATE SECONDS: STATE may be empty, for the end of the job.
wait_for_state() {
    local i
    for ((i = 0; i < 2 * $3; i++)); do
        if [[ "$(job_state "$1")" == "$2" ]]; then return; fi
        sleep 0.5
    done
    return 1
}

# start_now JOB: Slurm waits two minutes before it starts a job again.
start_now() { on node1 scontrol update "JobId=$1" StartTime=now; }
