#!/bin/bash
# Submits studies as an array of jobs, and a job that reports when all of them have ended, however they did:
#   slurm/submit.sh [--dry-run] STUDY.yaml [STUDY.yaml ...]
# Prints both job numbers. Run it again at any time: what is finished is not trained again, and more tasks only help.
# What a cluster needs is set here, or by variables of the same names:
: "${GPT_OUT:=out}"          # folder of runs and studies, on a file system that all nodes share and that has flock
: "${GPT_TASKS:=4}"          # jobs of the array; any number will do, they share the runs
: "${GPT_AT_ONCE:=}"         # how many of them may run at a time; empty: as many as Slurm starts
: "${GPT_GPUS:=0}"           # GPUs of each job, one process each; 0: it trains on its cores
: "${GPT_CPUS:=4}"           # cores of each job
: "${GPT_TIME:=04:00:00}"    # time limit of each job; it goes back into the queue when it is reached
: "${GPT_WARNING:=180}"      # seconds before the limit at which it saves and stops; Slurm may be 60 s late
: "${GPT_PARTITION:=}"       # empty: the cluster's default
: "${GPT_ACCOUNT:=}"
: "${GPT_SETUP:=}"           # file that the jobs source (module load ..., activate ...); empty: .venv of this checkout
: "${GPT_SBATCH:=}"          # more options for the jobs of the array: --mem=16G --constraint=a100
: "${GPT_MAX_REQUEUES:=100}" # how often a job that was stopped goes back into the queue
set -euo pipefail

USE='use: slurm/submit.sh [--dry-run] STUDY.yaml [STUDY.yaml ...]'

refuse() {
    echo "slurm/submit.sh: $1; $USE" >&2
    exit 2
}

whole() {
    case ${!1} in
        '' | *[!0-9]* | 0?* | ??????????*) refuse "$1 is '${!1}', must be a whole number" ;;
    esac
    [ "${!1}" -ge "$2" ] || refuse "$1 is '${!1}', must be at least $2"
}

# Slurm expands % in the names of logs, and cuts what it exports at commas.
plain() {
    case $1 in
        *[%,]*) refuse "$1 has a % or a comma in it, which Slurm does not take as it is" ;;
    esac
}

dry=
studies=()
for study in "$@"; do
    case $study in
        --help | -h)
            echo "$USE"
            exit
            ;;
        --dry-run)
            dry=yes
            continue
            ;;
    esac
    [ -f "$study" ] || refuse "no file $study"
    studies+=("$(realpath "$study")")
done
[ ${#studies[@]} -ge 1 ] || refuse "no STUDY.yaml"
whole GPT_TASKS 1
[ -z "$GPT_AT_ONCE" ] || whole GPT_AT_ONCE 1
whole GPT_GPUS 0
whole GPT_CPUS 1
whole GPT_WARNING 1
whole GPT_MAX_REQUEUES 0
[ -z "$GPT_SETUP" ] || [ -f "$GPT_SETUP" ] || refuse "GPT_SETUP names no file"
[ -z "$GPT_SETUP" ] || GPT_SETUP=$(realpath "$GPT_SETUP")

GPT_HOME=$(cd -- "$(dirname -- "$0")/.." && pwd)
out=$(realpath -m "$GPT_OUT")
plain "$out"
plain "$GPT_HOME"
plain "$GPT_SETUP"
gpt=$(command -v "$GPT_HOME/.venv/bin/gpt" gpt | head -n 1) || true
[ -n "$GPT_SETUP$gpt" ] || refuse "the jobs would find no gpt: run make env, or name a file to source in GPT_SETUP"

passed="GPT_HOME=$GPT_HOME,GPT_SETUP=$GPT_SETUP,GPT_MAX_REQUEUES=$GPT_MAX_REQUEUES"
both=(sbatch --parsable --export="ALL,$passed")
[ -z "$GPT_PARTITION" ] || both+=(--partition="$GPT_PARTITION")
[ -z "$GPT_ACCOUNT" ] || both+=(--account="$GPT_ACCOUNT")
array=("${both[@]}" --array="0-$((GPT_TASKS - 1))${GPT_AT_ONCE:+%$GPT_AT_ONCE}")
array+=(--cpus-per-task="$GPT_CPUS" --time="$GPT_TIME" --signal="B:USR1@$GPT_WARNING" --output="$out/slurm/%x-%A_%a.out")
[ "$GPT_GPUS" = 0 ] || array+=(--gpus-per-node="$GPT_GPUS")
read -ra more <<<"$GPT_SBATCH"
array+=("${more[@]}" "$GPT_HOME/slurm/study.sbatch" "${studies[@]}" --out "$out")
report=("${both[@]}" --output="$out/slurm/%x-%j.out")

if [ -n "$dry" ]; then
    printf '%q ' "${array[@]}"
    printf '\n'
    printf '%q ' "${report[@]}" --dependency=afterany:ARRAY "$GPT_HOME/slurm/report.sbatch" "$out"
    printf '\n'
    exit
fi
command -v sbatch >/dev/null || refuse "there is no sbatch here: run it where jobs are submitted"
[ -z "$gpt" ] || "$gpt" study check "${studies[@]}" >&2 || exit 2
mkdir -p "$out/slurm"
number=$("${array[@]}")
number=${number%%;*} # a federation adds the cluster's name
echo "array: $number, $GPT_TASKS tasks"
number=$("${report[@]}" --dependency="afterany:$number" "$GPT_HOME/slurm/report.sbatch" "$out")
echo "report: ${number%%;*}, when all tasks have ended"
echo "logs: $out/slurm"
