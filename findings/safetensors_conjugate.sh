#!/usr/bin/env bash
# safetensors 0.8.0 (torch 2.13.0): a conjugated complex tensor is saved without its conjugation.
#
# Expected: the values of the tensor, as torch.save keeps them; tensors that cannot be written are refused elsewhere.
# Happens: torch conjugates lazily (a flag on the same memory), and save_file writes the memory: what is loaded has the
# opposite imaginary part. The same for the flag of negation: the imaginary part of a conjugate comes back with the
# opposite sign, as an ordinary float tensor. resolve_conj() and resolve_neg() before saving are right.
# Matters: silent change of values in a plain round trip, for complex rotary tables and the weights of spectral layers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 safetensors==0.8.0 numpy==2.4.6
cd "$folder"
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - <<'PYTHON'
import safetensors
import torch
from safetensors.torch import load_file, save_file

print("safetensors", safetensors.__version__, "torch", torch.__version__.split("+")[0])
conjugate = torch.tensor([1 + 2j, 3 - 4j]).conj()
negative = torch.tensor([5 + 6j]).conj().imag
right = {}
for name, tensor in {
    "conjugate": conjugate,
    "conjugate, resolved": conjugate.resolve_conj(),
    "its imaginary part": negative,
    "its imaginary part, resolved": negative.resolve_neg(),
}.items():
    save_file({"weight": tensor}, "weight.safetensors")
    loaded = load_file("weight.safetensors")["weight"]
    right[name] = torch.equal(loaded, tensor)
    print(f"{name}: saved {tensor.tolist()}, loaded {loaded.tolist()}")
if list(right.values()) != [False, True, False, True]:
    raise SystemExit("not as stated")
print("as stated: the flags of conjugation and negation are lost")
PYTHON
