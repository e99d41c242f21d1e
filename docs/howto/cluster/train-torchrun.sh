#!/bin/bash
# One training on several computers by torchrun; call it once on each of them, with another NODE_RANK.
#
#   NODES=2 NODE_RANK=0 MASTER=node1 PROCESSES=4 ./train-torchrun.sh train --normals normals.csv --out runs/knee
#
# NODES      computers that take part
# NODE_RANK  which of them this one is, from 0
# MASTER     name or address of the one with rank 0, which the others can reach
# PORT       a free port there
# PROCESSES  processes on each computer: one a GPU
# PYTHON     of the environment that anomaly is installed in
set -euo pipefail
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes "${NODES:-1}" --node-rank "${NODE_RANK:-0}" --nproc-per-node "${PROCESSES:-1}" \
    --master-addr "${MASTER:-127.0.0.1}" --master-port "${PORT:-29500}" \
    "${ANOMALY:-$(command -v anomaly)}" "$@"
