#!/usr/bin/env bash
# tokenizers 0.23.3: the ids of added tokens in tokenizer.json are not what counts.
#
# Expected: {"id": 1000, "content": "<far>"} means 1000: the field is in the file, and the model's rows were trained with it.
# Happens: an added token that is not in the vocabulary gets the next free id, whatever the file says; ids that leave a gap
# behind the vocabulary (reserved rows) are replaced without an error or a warning. Saving then writes the new id.
# Matters: prompts hold the ids of other rows of the embedding; who takes the ids from the file's JSON disagrees with who
# encodes with the library.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3
cd "$folder"
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - <<'PYTHON'
import json

import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<s>"], show_progress=False)
    tokenizer.train_from_iterator(["the quick brown fox jumps over the lazy dog"] * 5, trainer)
    return tokenizer

print("tokenizers", tokenizers.__version__)
content = json.loads(byte_level().to_str())
size = len(content["model"]["vocab"])
content["added_tokens"].append(content["added_tokens"][0] | {"id": 1000, "content": "<far>"})
loaded = Tokenizer.from_str(json.dumps(content))
saved = [one["id"] for one in json.loads(loaded.to_str())["added_tokens"] if one["content"] == "<far>"]
print(f"vocabulary of {size}; '<far>' has id 1000 in the file, {loaded.token_to_id('<far>')} when loaded, {saved[0]} when saved")
print("encoded:", loaded.encode("<far>").ids, "id 1000:", loaded.id_to_token(1000))
if not (loaded.encode("<far>").ids == [size] and saved == [size] and loaded.id_to_token(1000) is None):
    raise SystemExit("not as stated")
print("as stated: the id in the file was replaced by the next free one")
PYTHON
