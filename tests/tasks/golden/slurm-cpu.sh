#!/usr/bin/env bash

#SBATCH -J segpipe-cpu
#SBATCH -p cpu
#SBATCH -n 1
#SBATCH --cpus-per-task=8
#SBATCH --mem=24G
#SBATCH -t 04:00:00
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
/shared/venv/bin/python -m distributed.cli.dask_worker tls://10.0.0.1:8786 --name cpu-0 --nthreads 1 --memory-limit 3.00GiB --nworkers 8 --nanny --death-timeout 60 --no-dashboard --lifetime 14100s --lifetime-stagger 150s --interface ib0 --protocol tls:// --tls-ca-file /shared/segpipe/.ca --tls-cert /shared/segpipe/.cert --tls-key /shared/segpipe/.key
