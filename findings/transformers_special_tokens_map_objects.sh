#!/usr/bin/env bash
# transformers 5.23.0: a special_tokens_map.json whose additional_special_tokens are objects cannot be loaded.
#
# Expected: read, like the single tokens of the same file (an object for pad_token works, and so does a list of strings):
# transformers 4.33.3 writes such a directory after add_special_tokens({"additional_special_tokens": [AddedToken(...)]}).
# Happens: TypeError "Input must be a List[Union[str, AddedToken]]" from the tokenizers library, which names neither file nor
# field. It needs a tokenizer_config.json with neither added_tokens_decoder (older versions) nor additional_special_tokens.
# Matters: tokenizers that loaded for years stop loading, and the message does not say what to edit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0
cd "$folder"
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - <<'PYTHON'
import json
import os
from pathlib import Path

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
token = {"content": "<extra>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
outcome = {}
for label, special in {
    "one token as an object": {"pad_token": token},
    "a list of strings": {"additional_special_tokens": ["<extra>"]},
    "a list of objects": {"additional_special_tokens": [token]},
}.items():
    PreTrainedTokenizerFast(tokenizer_object=byte_level()).save_pretrained("tokenizer")
    Path("tokenizer/special_tokens_map.json").write_text(json.dumps(special))
    try:
        outcome[label] = f"loaded, special tokens {AutoTokenizer.from_pretrained('tokenizer').all_special_tokens}"
    except TypeError as error:
        outcome[label] = f"TypeError: {error}"
    print(f"{label}: {outcome[label]}")
fails = [label for label, text in outcome.items() if text.startswith("TypeError")]
if fails != ["a list of objects"]:
    raise SystemExit("not as stated")
print("as stated: only the list of objects fails")
PYTHON
