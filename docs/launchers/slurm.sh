#!/bin/bash
#   sbatch docs/launchers/slurm.sh train --config=FILE --workdir=DIR
# runs train, predict or autolabel with a process for each GPU. When its time is nearly over it saves
# and is queued again, until it is done.
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append

srun --cpus-per-task="$SLURM_CPUS_PER_TASK" .venv/bin/python main.py "$@" --stopped_status=75
status=$?
if [ "$status" = 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
