#!/usr/bin/env bash
# transformers 5.23.0: generate() without an attention mask hides every pad token inside the prompt.
#
# Expected: one unpadded prompt given as ids is read as it is, as model(ids) reads it; a missing mask means "all".
# Happens: where pad_token_id is set and is no end token, tokens of the prompt that equal it are masked out, also in the
# middle, and the positions behind them move up: the next token is that of another prompt. The warning about padding only looks at the first and the last id.
# Matters: pad is often a real token of the text (a reserved token, a separator of documents); a comparison of generate()
# with another engine, or with the model's own forward pass, differs without a word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
cd "$folder"
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - <<'PYTHON'
import contextlib
import io
import logging
import warnings

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

print("transformers", transformers.__version__)
torch.manual_seed(0)
sizes = dict(vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4)
model = LlamaForCausalLM(LlamaConfig(**sizes, initializer_range=0.15, pad_token_id=7, eos_token_id=2)).eval()
ids = torch.arange(3, 20)[None]  # 7 is the fifth of them


def generated(**options):
    wish = dict(max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True)
    return model.generate(ids, **wish, **options).logits[0]


told = io.StringIO()
handler = logging.StreamHandler(told)
transformers.utils.logging.add_handler(handler)
with torch.no_grad(), warnings.catch_warnings(record=True) as caught, contextlib.redirect_stderr(io.StringIO()):
    warnings.simplefilter("always")
    forward = model(ids).logits[:, -1]
    without = float((generated() - forward).abs().max())
    with_mask = float((generated(attention_mask=torch.ones_like(ids)) - forward).abs().max())
    mask = (ids != 7).long()
    hidden = model(ids, attention_mask=mask, position_ids=mask.cumsum(-1) - 1).logits[:, -1]
    like_hidden = float((generated() - hidden).abs().max())
print(f"generate(ids) is {without:.6f} from model(ids), with a mask of ones {with_mask:.6f}")
print(f"generate(ids) is {like_hidden:.6f} from model(ids) with token 7 masked and not counted")
messages = [line for line in told.getvalue().splitlines() if "mask" in line or "pad" in line]
messages += [str(one.message) for one in caught if "mask" in str(one.message) or "pad" in str(one.message)]
print("warnings about it:", messages)
if not (without > 0.1 and with_mask < 1e-4 and like_hidden < 1e-4 and not messages):
    raise SystemExit("not as stated")
print("as stated: the pad token inside the prompt is masked out")
PYTHON
