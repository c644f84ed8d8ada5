#!/bin/bash
# Relights a data set on several nodes of a Slurm cluster, with one Ray node on each:
#
#     sbatch --nodes=4 --gpus-per-node=8 examples/slurm_batch.sh --dataset ROOT --output OUT --engine embedded
#
# Run it in the folder of this program, on a file system that all nodes see. The arguments are those of the controller
# beside --batch and --cluster. The job may be submitted again until it is complete: what is done is kept.
#SBATCH --job-name=acusim-augment
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --signal=TERM@120
set -euo pipefail

export PATH="$PWD/.venv/bin:$PATH"  # symmetric-run calls ray
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0 PYTHONPATH="$PWD"
RAY_AUTH_TOKEN=$(openssl rand -hex 32)
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(getent ahostsv4 "$head" | awk 'NR == 1 {print $1}'):${RAY_PORT:-6379}
cores=${SLURM_CPUS_ON_NODE:-$(nproc)}

srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
	ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" --num-cpus "$cores" -- \
	python -m controller --batch --cluster "$address" "$@"
