#!/usr/bin/env bash
# peft 0.21.2: an adapter made with init_lora_weights="pissa_niter_16" is another model after a plain save and load.
#
# Expected: what "pissa" gives: loading splits the base weight again, deterministically, and the logits are those that were
# saved; the name with _niter_16 only promises a faster decomposition.
# Happens: the fast decomposition is randomised and is drawn again at load, so another part is taken out of the base
# weight than the one the saved A and B were trained on: other logits, and others at each load. No warning.
# Matters: fast PiSSA is the form for large models. Neither PEFT nor a server can serve such a directory as it was trained;
# only a save with path_initial_model_for_weight_conversion keeps it, as the last line shows.
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


def distance(path, trained):
    with torch.no_grad():
        return float((PeftModel.from_pretrained(base(), path).eval()(ids).logits - trained).abs().max())


def made(init):
    config = LoraConfig(r=8, lora_alpha=8, target_modules=["q_proj", "v_proj"], init_lora_weights=init)
    model = get_peft_model(base(), config).eval()
    model.peft_config["default"].init_lora_weights = True  # so that loading the start for a conversion changes nothing
    model.save_pretrained(f"{init}-start")
    model.peft_config["default"].init_lora_weights = init
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():  # as training would move them
        if "lora_" in name:
            parameter.data += 0.05 * torch.randn_like(parameter)
    with torch.no_grad():
        logits = model(ids).logits
    model.save_pretrained(init)
    return model, logits


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    (_, exact), (model, fast) = made("pissa"), made("pissa_niter_16")
    plain = distance("pissa", exact)
    torch.manual_seed(2)
    loads = distance("pissa_niter_16", fast), distance("pissa_niter_16", fast)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # PEFT loads the start as a second adapter, and advises against two
    model.save_pretrained("converted", path_initial_model_for_weight_conversion="pissa_niter_16-start")
    converted = distance("converted", fast)
print(f"pissa, reloaded: {plain:.6f} from the trained logits")
print(f"pissa_niter_16, reloaded twice: {loads[0]:.6f} and {loads[1]:.6f}")
print(f"pissa_niter_16, converted when saved: {converted:.6f}")
told = [str(one.message) for one in caught if "pissa" in str(one.message).lower() or "init" in str(one.message).lower()]
print("warnings about it:", told)
if not (plain < 1e-3 and min(loads) > 0.1 and loads[0] != loads[1] and converted < 1e-3 and not told):
    raise SystemExit("not as stated")
print("as stated: fast PiSSA is drawn again at each load")
PYTHON
