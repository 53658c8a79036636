# shellcheck shell=bash
# Sourced by the batch scripts: the environment, a step that is told when to stop, and the way back into the queue.

say() {
    echo "$(date '+%F %T') $SLURM_JOB_NAME ${SLURM_ARRAY_TASK_ID:+task $SLURM_ARRAY_TASK_ID }on $SLURMD_NODENAME: $*"
}

if [ -n "${GPT_SETUP:-}" ]; then
    # shellcheck source=/dev/null
    . "$GPT_SETUP"
elif [ -f "$GPT_HOME/.venv/bin/activate" ]; then
    # shellcheck source=/dev/null
    . "$GPT_HOME/.venv/bin/activate"
fi
if ! command -v gpt >/dev/null; then
    say "no gpt on PATH and no $GPT_HOME/.venv: run make env there, or name a file to source in GPT_SETUP"
    exit 2
fi
set -u
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

CODE=0 # of the step
INTERRUPTED=

# Passes a request to stop on to gpt. Not through srun, which answers SIGTERM by killing the step.
tell_step() {
    INTERRUPTED=yes
    say "told to stop by SIG$1"
    for _ in 1 2 3 4 5; do # the step may not have begun yet
        if scancel --signal=TERM "$SLURM_JOB_ID.0" 2>/dev/null || ! kill -0 "$SRUN" 2>/dev/null; then
            return
        fi
        sleep 1
    done
}

# Runs the job's only step and does not return before it has ended: leaving earlier would kill it. USR1 comes before the
# time limit, SIGTERM at the end of the job; a preemption with GraceTime tells the step alone.
run_step() {
    local ended
    trap 'tell_step USR1' USR1
    trap 'tell_step TERM' TERM
    # a step has one core for each task unless it is told; its tasks end on their own, each after what it has to save
    srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=0 --wait=300 "$@" </dev/null &
    SRUN=$!
    while :; do
        INTERRUPTED=
        wait "$SRUN"
        ended=$?
        [ "$ended" = 127 ] || CODE=$ended # 127: a signal came after the last wait had its answer
        [ -n "$INTERRUPTED" ] || break
    done
}

# Ends the script with gpt's exit code; a run that was stopped goes back into the queue first.
finish() {
    local me=$SLURM_JOB_ID state
    # Only this task: the last one has the array's own number, and requeueing that starts every task again.
    [ -z "${SLURM_ARRAY_JOB_ID:-}" ] || me=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
    [ "$CODE" != 143 ] || CODE=75 # told to stop before it could listen
    if [ "$CODE" != 75 ]; then
        say "gpt ended with exit code $CODE"
    elif [ "${SLURM_RESTART_COUNT:-0}" -ge "${GPT_MAX_REQUEUES:-100}" ]; then
        say "stopped on request; not requeued, as it was ${SLURM_RESTART_COUNT} times before (GPT_MAX_REQUEUES)"
    else
        # A job that Slurm is already ending was cancelled, which must hold, or goes back into the queue without our help.
        state=$(squeue --noheader --jobs="$me" --format=%T)
        if [ "$state" != RUNNING ]; then
            say "stopped on request; the job is ${state:-gone}, Slurm decides what becomes of it"
        elif scontrol requeue "$me"; then
            say "stopped on request; resumes when its turn comes"
        else
            say "stopped on request, and could not be requeued; submit it again to resume"
        fi
    fi
    exit "$CODE"
}
