#!/usr/bin/env bash
# Two networks of one trunk, three seeds each, the same number of steps: the paper's two-scale
# network with attention, and the single-scale network whose scores are the paper's baselines.
#
#   PYTHON=.venv/bin/python docs/results/street_scenes.sh RUNS_DIR
#
# Each run has one core; two run side by side. The config is that of version 0.1.0.
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${1:?name a directory for the runs}
python=${PYTHON:-python3}

earlier=(
  --config.steps=1300 --config.data.scale_range=0.75,2.0
  --config.optimizer.name=sgd --config.optimizer.learning_rate=0.05
  --config.optimizer.weight_decay=0.0001
)
train() { # CORE NAME ARGUMENT...
  taskset -c "$1" "$python" main.py train --workdir="$runs/$2" "${earlier[@]}" "${@:3}" \
    > "$runs/$2.log" 2>&1
}

mkdir -p "$runs"
for seed in 0 1 2; do
  train 0 "two_scale-$seed" --config.seed=$seed &
  train 1 "single_scale-$seed" --config.seed=$seed \
    --config.model.attention=none --config.objective.scales="(1.0,)" &
  wait -n && wait -n
done
mkdir -p docs/results/street_scenes
for run in "$runs"/*_scale-[012]; do
  cp "$run"/evaluation/validation-*.json "docs/results/street_scenes/$(basename "$run").json"
done
files() { echo "docs/results/street_scenes/$1-0.json,docs/results/street_scenes/$1-1.json,docs/results/street_scenes/$1-2.json"; }
"$python" docs/results/summarize.py "two-scale=$(files two_scale)" "single-scale=$(files single_scale)"
