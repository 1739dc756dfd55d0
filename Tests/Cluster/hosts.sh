# shellcheck shell=bash disable=SC2154  # the caller sets scratch
# Sourced by scripts/test_cluster.sh: hosts that are not there. Each is a network namespace with one interface, eth0,
# and a name of its own; all meet at a bridge in another namespace, which leads nowhere else. They share the file system
# but for what `hide` takes away.
#
# The caller sets scratch, a folder of its own, and removes the hosts at the end.

# The namespaces of two tests at once must not meet.
cluster="cosmos-$$"
hosts=()

# address_of HOST: node1 has 10.77.0.1.
address_of() { echo "10.77.0.${1#node}"; }

# make_hosts N: node1 to nodeN, and `enter`, which does what `ssh HOST COMMAND` does elsewhere; mpirun calls it, too.
make_hosts() {
    local host number
    ip netns add "$cluster-switch"
    ip -n "$cluster-switch" link add switch type bridge
    ip -n "$cluster-switch" link set switch up
    echo "127.0.0.1 localhost" > "$scratch/hosts"
    for ((number = 1; number <= $1; number++)); do
        host="node$number"
        hosts+=("$host")
        ip netns add "$cluster-$host"
        ip link add "$host" netns "$cluster-switch" type veth peer name eth0 netns "$cluster-$host"
        ip -n "$cluster-switch" link set "$host" master switch up
        ip -n "$cluster-$host" address add "$(address_of "$host")/24" dev eth0
        ip -n "$cluster-$host" link set eth0 up
        ip -n "$cluster-$host" link set lo up
        echo "$(address_of "$host") $host" >> "$scratch/hosts"
        echo "mount --bind $scratch/hosts /etc/hosts" > "$scratch/$host.mounts"
    done
    cat > "$scratch/enter" << END
#!/bin/sh
host="\$1"
shift
exec nsenter --net="/run/netns/$cluster-\$host" unshare --uts --mount --propagation private \\
    sh -c 'hostname "\$1" && . "$scratch/\$1.mounts" && shift && exec sh -c "\$*"' sh "\$host" "\$@"
END
    chmod +x "$scratch/enter"
}

# on HOST COMMAND ...: runs it there, in this folder.
on() {
    local host="$1"
    shift
    "$scratch/enter" "$host" "cd ${PWD@Q} && exec ${*@Q}"
}

# hide HOST TARGET [SOURCE]: what starts on the host from now on finds SOURCE there, or else an empty folder.
hide() {
    if (($# == 3)); then
        echo "mount --bind '$3' '$2'" >> "$scratch/$1.mounts"
    else
        echo "mount -t tmpfs -o size=64k cosmos '$2'" >> "$scratch/$1.mounts"
    fi
}

# limit_rate MBIT: what each host sends and what it receives.
limit_rate() {
    local host
    for host in "${hosts[@]}"; do
        tc -n "$cluster-$host" qdisc replace dev eth0 root tbf rate "$1mbit" burst 256kb latency 50ms
        tc -n "$cluster-switch" qdisc replace dev "$host" root tbf rate "$1mbit" burst 256kb latency 50ms
    done
}

# bytes_sent HOST
bytes_sent() {
    ip -n "$cluster-$1" -s -j link show eth0 | sed 's/.*"tx":{"bytes":\([0-9]*\).*/\1/'
}

# set_link HOST up|down
set_link() { ip -n "$cluster-switch" link set "$1" "$2"; }

# processes_on HOST [PROGRAM]: those that run there; of a program, by its file.
processes_on() {
    local process
    while read -r process; do
        if [[ -z "${2:-}" || "$(readlink "/proc/$process/exe" 2> /dev/null)" == "$2" ]]; then echo "$process"; fi
    done < <(ip netns pids "$cluster-$1" 2> /dev/null)
}

# remove_hosts: ends whatever runs on them, and takes them away.
remove_hosts() {
    local host
    for host in "${hosts[@]}" switch; do
        processes_on "$host" | xargs -r kill -KILL 2> /dev/null || true
        ip netns delete "$cluster-$host" 2> /dev/null || true
    done
    hosts=()
}
