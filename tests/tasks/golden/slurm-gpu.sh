#!/usr/bin/env bash

#SBATCH -J segpipe-gpu
#SBATCH -p gpu
#SBATCH -n 1
#SBATCH --cpus-per-task=1
#SBATCH --mem=12G
#SBATCH -t 04:00:00
#SBATCH --gres=gpu:1
export OMP_NUM_THREADS=1
export MKL_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export NUMBA_NUM_THREADS=1
export OPENCV_FOR_THREADS_NUM=1
export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False
export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False
export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False
export DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE=0.95
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
ulimit -n 65536
/shared/venv/bin/python -m distributed.cli.dask_worker tls://10.0.0.1:8786 --name gpu-0 --nthreads 1 --memory-limit 12.00GiB --nanny --death-timeout 60 --no-dashboard --lifetime 14100s --lifetime-stagger 150s --resources GPU=1 --interface ib0 --protocol tls:// --tls-ca-file /shared/segpipe/.ca --tls-cert /shared/segpipe/.cert --tls-key /shared/segpipe/.key
