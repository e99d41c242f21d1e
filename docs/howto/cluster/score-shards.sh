#!/bin/bash
# Score, explain or associate in shards, as a SLURM array: a task a shard, all into one folder.
#
#   sbatch --array=1-16 score-shards.sh score runs/knee --images cohort.csv --out scores/
#
# SHARDS  how many there are; without it, the last number of the array. Shards that failed, done again:
#
#   SHARDS=16 sbatch --array=3,7 score-shards.sh score runs/knee --images cohort.csv --out scores/
#
#SBATCH --job-name=shards
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=02:00:00
set -euo pipefail
export OMP_NUM_THREADS="$SLURM_CPUS_PER_TASK"
exec "${PYTHON:-python}" "${ANOMALY:-$(command -v anomaly)}" "$@" --shard "$SLURM_ARRAY_TASK_ID/${SHARDS:-$SLURM_ARRAY_TASK_MAX}"
