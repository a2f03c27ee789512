#!/usr/bin/env bash
# A training on two nodes under Slurm: sbatch deploy/slurm/train.sh recipes/anomalygpt.yaml runs/anomalygpt
# The folder it is submitted from must be on a file system that all nodes have. After a lost node
# the job is queued again; after its time limit, too, once the processes have saved (status 143).
#SBATCH --job-name=anomalyst
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
#SBATCH --output=slurm-%j.log
# With GPUs: --ntasks-per-node as many as --gpus-per-node.
set -euo pipefail
recipe=${1:?a recipe, as recipes/anomalygpt.yaml}
out=${2:?the folder of the run}
engine=${3:-ddp}

# Look at the nodes first: each as a step of this job.
hosts=$(mktemp -p "$PWD" hosts-XXXX)
trap 'rm -f "$hosts"' EXIT
scontrol show hostnames "$SLURM_JOB_NODELIST" | sed 's/$/ slots=1/' >"$hosts"
anomalyst cluster check "$hosts" --shell 'srun --overlap -N1 -n1 -w {host} sh -c {command}'

export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
status=0
srun --kill-on-bad-exit=1 anomalyst train "$recipe" --engine "$engine" --out "$out" || status=$?
[ "$status" -ne 143 ] || scontrol requeue "$SLURM_JOB_ID"
exit "$status"
