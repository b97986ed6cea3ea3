#!/usr/bin/env bash
# transformers 5.23.0: YaRN takes its original context length from outside of rope_scaling.
#
# Expected: the original_max_position_embeddings inside rope_scaling counts: it is what the loaded configuration shows.
# Happens: a field of the same name at the top level of config.json wins, but only when the model is built: the parsed
# configuration shows the inner value, the model's own configuration and its frequencies have the outer one. No warning,
# though the same value written inside rope_scaling brings one (it disagrees with the factor).
# Matters: a server that reads the parsed configuration, as the file reads, computes other logits than transformers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
cd "$folder"
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - <<'PYTHON'
import json
import warnings
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM

warnings.simplefilter("ignore")
transformers.utils.logging.disable_progress_bar()
print("transformers", transformers.__version__)
torch.manual_seed(0)
sizes = dict(vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4)
config = LlamaConfig(**sizes, max_position_embeddings=256, initializer_range=0.15)
LlamaForCausalLM(config).save_pretrained("model")
plain = json.loads(Path("model/config.json").read_text())
del plain["rope_parameters"]
ids = torch.arange(3, 60)[None]


def logits(inner, **outer):
    scaling = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": inner}
    content = plain | {"rope_theta": 10000.0, "rope_scaling": scaling} | outer
    Path("model/config.json").write_text(json.dumps(content))
    parsed = AutoConfig.from_pretrained("model").rope_parameters["original_max_position_embeddings"]
    model = LlamaForCausalLM.from_pretrained("model").eval()
    built = model.config.rope_parameters["original_max_position_embeddings"]
    print(f"inside {inner}, outside {outer or 'nothing'}: parsed as {parsed}, the model has {built}")
    with torch.no_grad():
        return parsed, built, model(ids).logits


_, _, inner_64 = logits(64)
_, _, inner_16 = logits(16)
parsed, built, both = logits(64, original_max_position_embeddings=16)
to_inner, to_outer = (float((both - other).abs().max()) for other in (inner_64, inner_16))
print(f"logits of inside 64, outside 16: {to_inner:.3f} from those of 64 alone, {to_outer:.3f} from those of 16 alone")
if not (parsed == 64 and built == 16 and to_inner > 0.1 and to_outer < 1e-5):
    raise SystemExit("not as stated")
print("as stated: the outer value is used, the parsed configuration shows the inner one")
PYTHON
