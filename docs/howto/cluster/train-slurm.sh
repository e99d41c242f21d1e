#!/bin/bash
# One training on several computers by SLURM: a task a GPU, as many on each.
#
#   sbatch train-slurm.sh train --normals normals.csv --out runs/knee
#
#SBATCH --job-name=train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
set -euo pipefail
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"  # srun takes it from the job no longer (SLURM 22.05)
# --resume: a job that is handed in again goes on where the last one stood.
exec srun "${PYTHON:-python}" "${ANOMALY:-$(command -v anomaly)}" "$@" --resume
