#!/usr/bin/env bash
# What is only modelled without an accelerator, measured on one GPU or TPU in under eight minutes.
#
#   docs/benchmarks/accelerator.sh [PYTHON [PUBLISHED TORCH_PYTHON]]
#
# PYTHON has the requirements, with the extra cuda12 or tpu. Prints a table, also on standard output
# of whatever calls it. With a checkout of the published code, PUBLISHED, and an interpreter that has
# PyTorch for the GPU, its train step and evaluation stand in a second table.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-.venv/bin/python}
"$python" docs/benchmarks/accelerator.py --minutes=6
if [[ $# -ge 3 ]]; then
    timeout 110 "$3" docs/benchmarks/accelerator_pytorch.py "$2" || echo "PyTorch did not end well."
fi
