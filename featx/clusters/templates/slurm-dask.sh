#!/bin/bash
# Runs a study on {{ nodes }} node{{ "s" if nodes > 1 }}, with {{ workers_on_node }} worker{{ "s" if workers_on_node > 1 }} on each. Submit with `sbatch FILE`.
#
# The job starts a Dask scheduler, then the workers, then `featx study run`, which gives the jobs of the study to the workers.
# The same file may be submitted again at any time: finished jobs of the study are not repeated.
# Lines that begin with #SBATCH are read by sbatch. Change them, and everything below, as your cluster needs.
#
#SBATCH --job-name=featx
{% include "slurm-resources.sh" %}
#SBATCH --output=featx-%j.log
set -euo pipefail
STUDY={{ file | quote }}

# The folder that all nodes share.
cd -- {{ folder | quote }}
export PATH={{ bin | quote }}:"$PATH"
{% include "slurm-signals.sh" %}

# What scheduler, workers and `featx study run` know each other by: a certificate with its key, which only you may read.
# Without it, nobody can connect; with it, code can be run on the workers. It stands beside the file with the
# scheduler's address, where `featx study run` finds it.
meeting="$PWD/featx-dask/$SLURM_JOB_ID"
scheduler="$meeting/scheduler.json"
rm -rf -- "$meeting"
featx cluster tls "$meeting" --days 60 > /dev/null
tls=(--protocol tls --tls-ca-file "$meeting/tls-cert.pem" --tls-cert "$meeting/tls-cert.pem" --tls-key "$meeting/tls-key.pem")
# Without a dashboard, Dask still answers HTTP, without TLS: from its own machine only.
http=(--no-dashboard --dashboard-address 127.0.0.1:0)
export OMP_NUM_THREADS="$SLURM_CPUS_PER_TASK"

{% if interface %}
{% set listen = "--interface " ~ interface %}
# Scheduler and workers listen on the network interface {{ interface }} of their node only.
{% else %}
{% set listen = '--host "$SLURMD_NODENAME"' %}
# Scheduler and workers listen on the network interface of their node's name only. To use another one, replace --host
# and its value by `--interface ib0` in both commands.
{% endif %}
python -P -m distributed.cli.dask_scheduler {{ listen }} --port 0 "${http[@]}" "${tls[@]}" --scheduler-file "$scheduler" &
dask=$!
workers=""
# On leaving, however that comes about, end what was started here, and remove the key. Workers end with their scheduler.
leave() {
    kill "$dask" 2> /dev/null || true
    for second in $(seq 15); do
        if ! kill -0 "$workers" 2> /dev/null; then break; fi
        sleep 1
    done
    kill "$workers" 2> /dev/null || true
    rm -rf -- "$meeting"
}
trap leave EXIT
for second in $(seq 120); do if [ -s "$scheduler" ]; then break; fi; sleep 1; done

# One worker for each share of cores{% if gpus %} and each GPU{% endif %}. A worker runs one job of the study at a time.
srun bash -c 'exec python -P -m distributed.cli.dask_worker {{ listen }} "$@"' worker "${http[@]}" "${tls[@]}" \
    --scheduler-file "$scheduler" --local-directory "${TMPDIR:-/tmp}" --death-timeout 300 \
    --nworkers 1 --nthreads 1 --memory-limit 0{% if gpus %} --resources GPU=1{% endif +%} &
workers=$!

run featx study run "$STUDY" --cluster "dask:$scheduler" --cores "$SLURM_CPUS_PER_TASK"
