#!/bin/sh
# Starts gpt on several ranks of this machine:
#   launch/run.sh [-n RANKS] CONFIG GPT_ARGUMENTS...
# CONFIG is a file of this folder without .yaml; -n replaces its num_processes. Example:
#   launch/run.sh -n 4 ddp study run configs/studies/quick/clipping.yaml
set -eu

refuse() {
    echo "launch/run.sh: $1; use: launch/run.sh [-n RANKS] CONFIG GPT_ARGUMENTS..." >&2
    exit 2
}

folder=$(cd -- "$(dirname -- "$0")" && pwd)

ranks=
while getopts :n: option; do
    case $option in
        n) ranks=$OPTARG
            case $ranks in
                '' | 0* | *[!0-9]*) refuse "-n is '$ranks', must be a whole number from 1" ;;
            esac ;;
        :) refuse "-$OPTARG needs a number" ;;
        *) refuse "unknown option -$OPTARG" ;;
    esac
done
shift $((OPTIND - 1))

[ $# -ge 1 ] || refuse "no CONFIG"
config=$1
shift
[ "$config" != two_machines ] || refuse "two_machines is started on each machine as launch/two_machines.yaml says"
[ -f "$folder/$config.yaml" ] || refuse "no file $folder/$config.yaml"
[ $# -ge 1 ] || refuse "no GPT_ARGUMENTS after $config"

if command -v accelerate >/dev/null; then
    accelerate=accelerate
else
    accelerate=$folder/../.venv/bin/accelerate
    [ -x "$accelerate" ] || refuse "no accelerate on PATH and none in $folder/../.venv"
fi

set -x # prints the command
exec "$accelerate" launch --config_file "$folder/$config.yaml" ${ranks:+--num_processes "$ranks"} -m gpt "$@"
