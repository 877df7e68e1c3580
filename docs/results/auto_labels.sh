#!/usr/bin/env bash
# Does auto-labelling help? The whole chain on CamVid, with a quarter of its labels:
# pre-training on painted streets -> fine-tuning on other classes, with attention -> labelling the
# other three quarters -> training on both -> evaluation. Each stage is one command; a stage that
# was stopped goes on when the script is run again.
#
#     docs/results/auto_labels.sh CAMVID [SEED [RUNS]]
set -euo pipefail
camvid=$1
seed=${2:-0}
runs=${3:-runs/auto_labels}/seed$seed
labelled='train[:8%]+train[34%:42%]+train[67%:75%]' # 87 images of the three drives
others='train[8%:34%]+train[42%:67%]+train[75%:]'   # 280 images, whose labels nobody looks at
protocols="('single','average:0.5,1,2','hierarchical:0.5,1,2')"
python=${PYTHON:-.venv/bin/python}

pretraining=(
    --config=configs/street_scenes.py --workdir="$runs/pretraining"
    --config.seed="$seed" --config.steps=800 --config.data.scale_range=0.75,2.0
    --config.optimizer.name=sgd --config.optimizer.learning_rate=0.05
    --config.optimizer.weight_decay=0.0001
    --config.model.attention=none --config.objective.scales='(1.0,)'
    --config.evaluate.protocols="('single',)"
)
finetuning=(
    --config=configs/camvid.py --config.seed="$seed" --config.steps=1000
    --config.data.dir="$camvid" --config.data.train_split="$labelled"
    --config.init_from="$runs/pretraining" --config.evaluate.protocols="$protocols"
)
teacher=("${finetuning[@]}" --workdir="$runs/teacher")
student=(
    "${finetuning[@]}" --workdir="$runs/student"
    --config.data.pool.name=folder --config.data.pool.dir="$runs/labels"
)
test=(--config.data.eval_split=test)

set -x
"$python" main.py train "${pretraining[@]}"
"$python" main.py train "${teacher[@]}"
"$python" main.py autolabel "${teacher[@]}" --images="camvid/$others" --out="$runs/labels" --previews
"$python" main.py train "${student[@]}"
"$python" main.py evaluate "${teacher[@]}" "${test[@]}"
"$python" main.py evaluate "${student[@]}" "${test[@]}"
