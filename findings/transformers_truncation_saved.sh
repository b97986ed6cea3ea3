#!/usr/bin/env bash
# transformers 5.23.0 (tokenizers 0.23.3): truncation=True for one call is saved with the tokenizer.
#
# Expected: truncation, max_length and padding are arguments of one call; save_pretrained writes the tokenizer.
# Happens: the call leaves them in the tokenizer behind the object, and save_pretrained writes them into tokenizer.json.
# Whoever reads this file with tokenizers gets prompts that are cut to that length and filled up, without a word;
# transformers itself resets them in each call and never shows it.
# Matters: a training script tokenizes, then saves: its tokenizer.json cuts every prompt on a server that reads the file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0 tokenizers==0.23.3
cd "$folder"
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - <<'PYTHON'
import os

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
text = "the quick brown fox jumps"
tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level(), pad_token="<s>")
tokenizer.save_pretrained("before")
tokenizer(["fox"], truncation=True, max_length=3, padding="max_length")
tokenizer.save_pretrained("after")
counts = {}
for name in ("before", "after"):
    plain, long = Tokenizer.from_file(f"{name}/tokenizer.json"), AutoTokenizer.from_pretrained(name)
    counts[name] = len(plain.encode(text).ids), len(plain.encode("").ids), len(long(text).input_ids)
    print(f"saved {name} the call: {counts[name][0]} ids for {text!r}, {counts[name][1]} for '' (transformers: {counts[name][2]})")
if not (counts["before"][0] == counts["before"][2] == counts["after"][2] > 3 and counts["after"][:2] == (3, 3)):
    raise SystemExit("not as stated")
print("as stated: the arguments of the call are in the saved tokenizer.json")
PYTHON
