#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that cosmos-train needs, those that are missing, and checks
# for a Swift toolchain. Where all of them are there, apt is not called.
#
# Usage: scripts/install_dependencies.sh [build] [mpi] [plot] [download] [corpus] [cluster]
#
#   build      to compile the program (the default): OpenBLAS, LAPACKE, SentencePiece, hwloc, zlib, a C++ library
#   mpi        for runs on several machines: Open MPI
#   plot       for plots as PNG and PDF: rsvg-convert
#   download   for scripts/download_c4.sh: curl
#   corpus     for scripts/make_corpus.sh --size large: Perl's HTML::Parser
#   cluster    for scripts/test_cluster.sh: Slurm, munge, iproute2
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

readonly oldest_swift=6.1
readonly swift_hint="install Swift $oldest_swift or later from https://www.swift.org/install/linux, for example with swiftly:
      curl -O https://download.swift.org/swiftly/linux/swiftly-\$(uname -m).tar.gz
      tar zxf swiftly-\$(uname -m).tar.gz && ./swiftly init
then open a new shell and run this script again"

check_swift() {
    local output version
    command -v swift > /dev/null || fail 1 "no Swift toolchain: the command 'swift' is not on the PATH" "$swift_hint"
    output="$(swift --version 2>&1)" || fail 1 "$(command -v swift) does not run: $output" \
        "https://www.swift.org/install/linux lists the packages that Swift itself needs"
    version="$(sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' <<< "$output" | head -n 1)"
    [[ -n "$version" ]] || fail 1 "cannot read Swift's version from: $output" "$swift_hint"
    if [[ "$(printf '%s\n' "$oldest_swift" "$version" | sort -V | head -n 1)" != "$oldest_swift" ]]; then
        fail 1 "Swift $version is too old: cosmos-train needs $oldest_swift or later" "$swift_hint"
    fi
}

is_installed() {
    [[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2> /dev/null)" == installed ]]
}

install_missing() {
    local missing=() package run=()
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    if ((EUID != 0)); then
        command -v sudo > /dev/null || fail 1 "missing packages: ${missing[*]}" \
            "as root, run: apt-get update && apt-get install ${missing[*]}"
        run=(sudo)
    fi
    echo "Installing ${missing[*]}"
    run+=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    "${run[@]}" update < /dev/null
    "${run[@]}" install -y --no-install-recommends "${missing[@]}" < /dev/null ||
        fail 1 "apt-get could not install ${missing[*]}" "its own message is above; run the script again when it is solved"
}

packages=()
for purpose in "${@:-build}"; do
    case "$purpose" in
        # g++ brings the C++ standard library that the SentencePiece shim is compiled against.
        build) packages+=(libopenblas-dev liblapacke-dev libdnnl-dev libsentencepiece-dev libhwloc-dev zlib1g-dev pkg-config g++ git) ;;
        mpi) packages+=(libopenmpi-dev openmpi-bin) ;;
        plot) packages+=(librsvg2-bin) ;;
        download) packages+=(curl) ;;
        corpus) packages+=(libhtml-parser-perl) ;;
        cluster) packages+=(slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge iproute2 procps) ;;
        -h | --help) print_help "$0" && exit ;;
        *) fail "$usage_error" "unknown purpose '$purpose'" "one or more of: build, mpi, plot, download, corpus, cluster" ;;
    esac
done

if [[ " ${packages[*]} " == *" libopenblas-dev "* ]]; then check_swift; fi
if command -v dpkg-query > /dev/null && command -v apt-get > /dev/null; then
    install_missing "${packages[@]}"
else
    missing=()
    if [[ " ${packages[*]} " == *" libopenblas-dev "* ]]; then
        for library in openblas lapacke sentencepiece hwloc zlib; do
            pkg-config --exists "$library" 2> /dev/null || missing+=("$library (with headers and pkg-config file)")
        done
    fi
    if [[ " ${packages[*]} " == *openmpi* ]]; then pkg-config --exists ompi-c || missing+=("Open MPI (with headers and pkg-config file)"); fi
    if [[ " ${packages[*]} " == *librsvg* ]]; then command -v rsvg-convert > /dev/null || missing+=(rsvg-convert); fi
    if [[ " ${packages[*]} " == *curl* ]]; then command -v curl > /dev/null || missing+=(curl); fi
    if ((${#missing[@]})); then
        fail 1 "this is neither Debian nor Ubuntu, and something is missing: $(IFS=,; echo "${missing[*]}")" \
            "install it with your system's package manager, then run the script again"
    fi
fi
