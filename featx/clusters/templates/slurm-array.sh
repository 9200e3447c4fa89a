#!/bin/bash
# Extracts the features of {{ array }} parts of the images, a job for each part, then trains on them in a last job.
#
#   bash FILE      submits everything: the parts, and the last job, which waits until all parts are finished
#   sbatch FILE    submits the parts only
#
# Both may be given again at any time, after a failure or a cancelled job: finished images and folds are not recomputed.
# Lines that begin with #SBATCH are read by sbatch. Change them, and everything below, as your cluster needs.
#
#SBATCH --job-name=featx
# One job for each part{% if at_once %}, at most {{ at_once }} at a time (the number after %){% endif %}. Below, PARTS must be the same number.
#SBATCH --array=1-{{ array }}{% if at_once %}%{{ at_once }}{% endif +%}
{% include "slurm-resources.sh" %}
#SBATCH --output=featx-%A_%a.log
set -euo pipefail
PARTS={{ array }}
MANIFEST={{ file | quote }}
EXTRACT=({{ extract | join(" ") }})
TRAIN=({{ train | join(" ") }})

# Submit both jobs where this is not a job yet. The last one is part 0, and needs no GPU.
if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then
    parts=$(sbatch --parsable "$0")
    last=$(sbatch --parsable --array=0 --dependency=afterok:"${parts%%;*}" --kill-on-invalid-dep=yes{% if gpus %} --gpus-per-task=0{% endif %} "$0")
    echo "parts: job $parts, last job: $last"
    exit
fi

# The folder that all nodes share; the cache in it is filled by all parts.
cd -- {{ folder | quote }}
export PATH={{ bin | quote }}:"$PATH"
{% include "slurm-signals.sh" %}

export OMP_NUM_THREADS="$SLURM_CPUS_PER_TASK"
cores=(--workers "$SLURM_CPUS_PER_TASK")
if [ "$SLURM_ARRAY_TASK_ID" -gt 0 ]; then
    run featx extract "$MANIFEST" "${cores[@]}" "${EXTRACT[@]}" --shard "$SLURM_ARRAY_TASK_ID/$PARTS"
    exit
fi

# The last job: all features are stored by now, so this finds the stores, and joins their many small blocks.
found=$(mktemp)
trap 'rm -f "$found"' EXIT
run featx extract "$MANIFEST" "${cores[@]}" "${EXTRACT[@]}" > "$found"
mapfile -t stores < "$found"
run featx cache compact "${stores[@]}"
{% if train %}
run featx train-svm "$MANIFEST" "${cores[@]}" "${TRAIN[@]}"
{% else %}
# Without --train nothing is trained here.
{% endif %}
