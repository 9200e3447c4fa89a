#SBATCH --nodes={{ nodes }}
#SBATCH --ntasks-per-node={{ workers_on_node }}
# Of each worker: cores{% if gpus %}, GPUs{% endif %}. Memory is that of a node: {{ "%g" | format(memory_gib) }} GiB for each of its workers.
#SBATCH --cpus-per-task={{ cores }}
{% if gpus %}
#SBATCH --gpus-per-task=1
{% endif %}
#SBATCH --mem={{ mebibytes * workers_on_node }}M
#SBATCH --time={{ walltime }}
{% if partition %}
#SBATCH --partition={{ partition }}
{% endif %}
{% if account %}
#SBATCH --account={{ account }}
{% endif %}
# Two minutes before the time is over, SLURM signals this script, which then stops featx at its next checkpoint and
# goes back into the queue. Preempted jobs, and those of a node that fails, go back too.
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
