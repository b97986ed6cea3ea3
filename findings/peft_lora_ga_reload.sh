#!/usr/bin/env bash
# peft 0.21.2: a LoRA-GA adapter is another model after a plain save and load.
#
# Expected: as for PiSSA and OLoRA, loading repeats the change of the base weights, or fails because it cannot.
# Happens: LoRA-GA subtracts B A from the base weights when it starts from gradients; at load there are no gradients, the
# subtraction is left out without a word, and the saved A and B are added to the untouched base. The adapter_config.json
# says "lora_ga" in both cases. PEFT's guide mentions that base weights are modified; neither save nor load warns.
# Matters: such a directory looks like plain LoRA and cannot be told from one that is right; only a save with
# path_initial_model_for_weight_conversion gives what was trained, as the last line shows.
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
from peft.tuners.lora import LoraGAConfig, preprocess_loraga
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


start = base()
config = LoraConfig(
    r=8, lora_alpha=8, target_modules=["q_proj", "v_proj"], init_lora_weights="lora_ga", lora_ga_config=LoraGAConfig()
)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    preprocess_loraga(start, config, lambda: start(ids, labels=ids).loss.backward())
    model = get_peft_model(start, config).eval()
    with torch.no_grad():
        at_start = float((model(ids).logits - original(ids).logits).abs().max())
    model.peft_config["default"].init_lora_weights = True  # so that loading the start for a conversion changes nothing
    model.save_pretrained("start")
    model.peft_config["default"].init_lora_weights = "lora_ga"
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        model(ids, labels=ids).loss.backward()
        optimizer.step()
    with torch.no_grad():
        trained = model(ids).logits
    model.save_pretrained("plain")
    model.save_pretrained("converted", path_initial_model_for_weight_conversion="start")
    plain, converted = distance("plain", trained), distance("converted", trained)
print(f"before training: {at_start:.6f} from the base")
print(f"trained, saved, loaded: {plain:.6f} from the trained logits")
print(f"trained, converted when saved, loaded: {converted:.6f}")
told = [str(one.message) for one in caught if "lora_ga" in str(one.message).lower() or "lora-ga" in str(one.message).lower()]
print("warnings about it:", told)
if not (at_start < 1e-3 and plain > 0.1 and converted < 1e-3 and not told):
    raise SystemExit("not as stated")
print("as stated: the part that LoRA-GA took out of the base is not taken out at load")
PYTHON
