#!/usr/bin/env bash
# safetensors 0.8.0: safetensors.numpy.save_file writes arrays that are not in C order with their values in wrong places.
#
# Expected: saved right, as in 0.7.0 and as numpy's own save does, or refused, as safetensors.torch refuses such tensors.
# Happens: the array's memory is written as it lies, under a shape that is read in C order: a transposed array, or one in
# Fortran order, comes back shuffled. No error, no warning. (The docstring asks for contiguous arrays; one in Fortran order
# is contiguous for numpy. Reported upstream after the release.)
# Matters: weights of scikit-learn, scipy and transposed checkpoints are such arrays; a converted adapter computes noise.
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

print("safetensors", safetensors.__version__, "numpy", numpy.__version__)
array = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
right = {}
for name, tensor in {"C order": array, "transposed": array.T, "Fortran order": numpy.asfortranarray(array)}.items():
    save_file({"weight": tensor}, "weight.safetensors")
    loaded = load_file("weight.safetensors")["weight"]
    right[name] = bool(numpy.array_equal(loaded, tensor))
    print(f"{name}: saved {tensor.tolist()}, loaded {loaded.tolist()}")
if right != {"C order": True, "transposed": False, "Fortran order": False}:
    raise SystemExit("not as stated")
print("as stated: arrays in another order come back shuffled")
PYTHON
