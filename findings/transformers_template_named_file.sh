#!/usr/bin/env bash
# transformers 5.23.0: a chat template named "file" takes the place of the default one when the tokenizer is loaded again.
#
# Expected: chat_template.jinja is the default template, additional_chat_templates/NAME.jinja the one called NAME, for
# every NAME that save_pretrained accepts.
# Happens: save_pretrained writes both files, from_pretrained keeps the named files under keys "chat_template_" + NAME, and
# "chat_template_file" is also the key of the default: one template is left, the additional one, used for every chat.
# Matters: a directory that came out of save_pretrained renders other prompts; who reads the files as documented differs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0 jinja2==3.1.6
cd "$folder"
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - <<'PYTHON'
import os
import warnings

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import transformers
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<s>"], show_progress=False)
    tokenizer.train_from_iterator(["the quick brown fox jumps over the lazy dog"] * 5, trainer)
    return tokenizer


print("transformers", transformers.__version__)
chat = [{"role": "user", "content": "hello"}]
rendered = {}
for name in ("search", "file"):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level())
    tokenizer.chat_template = {"default": "default: {{ messages[0].content }}", name: "other: {{ messages[0].content }}"}
    tokenizer.save_pretrained(name)
    loaded = AutoTokenizer.from_pretrained(name)
    before = tokenizer.apply_chat_template(chat, tokenize=False)
    after = loaded.apply_chat_template(chat, tokenize=False)
    rendered[name] = before, after
    print(f"additional template {name!r}: default renders {before!r}, saved and loaded {after!r}")
if rendered != {"search": ("default: hello", "default: hello"), "file": ("default: hello", "other: hello")}:
    raise SystemExit("not as stated")
print("as stated: the template named 'file' replaced the default one")
PYTHON
