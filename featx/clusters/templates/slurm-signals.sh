
# Run a command so that signals reach it: bash itself would wait for its end before it looks at them.
stopped=""
child=""
stop() {
    stopped=$1
    echo "featx job $SLURM_JOB_ID: $1; stopping at the next checkpoint" >&2
}
# SLURM sends USR1 to this script alone, which passes it on as TERM. When it cancels or preempts a job it sends TERM to
# all processes: a second one from here would end featx at once, before its checkpoint.
trap 'stop "its time is over"; if [ -n "$child" ]; then kill -TERM "$child" 2> /dev/null || true; fi' USR1
trap 'stop cancelled' TERM
run() {
    local code=0
    if [ -n "$stopped" ]; then return 143; fi
    "$@" &
    child=$!
    wait "$child" || code=$?
    # A signal ends the first wait; the second one waits until the command has reached its checkpoint.
    if [ -n "$stopped" ]; then code=0; wait "$child" || code=$?; fi
    child=""
    if [ "$code" -ne 0 ] && [ "$stopped" = "its time is over" ] && [ "${SLURM_RESTART_COUNT:-0}" -lt {{ restarts }} ]; then
        scontrol requeue "$SLURM_JOB_ID"
    fi
    return "$code"
}
