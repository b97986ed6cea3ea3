#!/usr/bin/env bash
# safetensors 0.8.0: a tensor named "__metadata__" is saved without complaint, into a file that cannot be read.
#
# Expected: refused when saving: the name is reserved for the header's text fields.
# Happens: save_file writes the file; load_file then fails with "invalid JSON in header". All other
# tensors of the file are lost with it.
# Matters: the failure comes when the weights are needed, not when they are written.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$folder"
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - <<'PYTHON'
import numpy
import safetensors
from safetensors.numpy import load_file, save_file

print("safetensors", safetensors.__version__)
save_file({"__metadata__": numpy.ones(2, numpy.float32), "weight": numpy.zeros(2, numpy.float32)}, "weights.safetensors")
print("saved without an error")
try:
    print("loaded", sorted(load_file("weights.safetensors")))
    message = ""
except safetensors.SafetensorError as error:
    message = str(error)
    print("load_file:", message)
if "header" not in message:
    raise SystemExit("not as stated")
print("as stated: the file that was saved cannot be read")
PYTHON
