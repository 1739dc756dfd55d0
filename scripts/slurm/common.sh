# shellcheck shell=bash
# Sourced by the batch scripts beside it. Slurm runs copies of those, in the folder that they were submitted from.
source scripts/common.sh

# shellcheck disable=SC2034  # used by the scripts that source this file
program="$repository/.build/release/cosmos-train"
[[ -x "$program" ]] || fail "$usage_error" "there is no program $program" "build it first: scripts/build.sh --mpi"

# end_job CODE: leaves, and has the job queued again where its work can go on. A job that is cancelled ends with its
# shell, before it comes here.
end_job() {
    if (($1 == 75)); then
        if ((SECONDS < 20)); then
            fail 75 "stopped after $SECONDS s, so the job is not queued again" \
                "the time limit must leave more than the 300 s of --signal"
        fi
        # Slurm ends this shell as soon as it has done so.
        scontrol requeue "$SLURM_JOB_ID" && sleep 60
    fi
    exit "$1"
}
