#!/usr/bin/env bash
# peft 0.21.2 (torch 2.13.0): an adapter's name must not be an attribute of torch.nn.ModuleDict, nor hold a dot.
#
# Expected: adapter_name is a free label (a dictionary key in every signature), at most checked with a sentence of PEFT's.
# Happens: "half", "type", "train", "pop" and other names of methods end in KeyError "attribute 'half' already exists",
# "v1.5" in KeyError 'module name can't contain "."'; names like "base", "weight" or "org/name" work. The message comes from
# torch and speaks neither of adapters nor of the names that are allowed.
# Matters: users name adapters by version and by task; who loads adapters by name must map names to safe ones.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 peft==0.21.2
cd "$folder"
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - <<'PYTHON'
import copy
import warnings

import peft
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

transformers.utils.logging.disable_progress_bar()
print("peft", peft.__version__)
torch.manual_seed(0)
sizes = dict(vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4)
original = LlamaForCausalLM(LlamaConfig(**sizes, initializer_range=0.15)).eval()
ids = torch.arange(3, 20)[None]


def base():
    return copy.deepcopy(original)


warnings.simplefilter("ignore")
model = get_peft_model(base(), LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
model.save_pretrained("adapter")
refused, taken = {}, []
for name in ("half", "type", "train", "pop", "v1.5", "base", "weight", "org/name"):
    loaded = PeftModel.from_pretrained(base(), "adapter")
    try:
        loaded.load_adapter("adapter", adapter_name=name)
        taken.append(name)
    except KeyError as error:
        refused[name] = str(error)
for name, message in refused.items():
    print(f"{name!r}: KeyError {message}")
print("loaded:", taken)
if list(refused) != ["half", "type", "train", "pop", "v1.5"]:
    raise SystemExit("not as stated")
print("as stated: names of methods and names with a dot are refused by torch's message")
PYTHON
