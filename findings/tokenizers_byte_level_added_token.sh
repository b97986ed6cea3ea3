#!/usr/bin/env bash
# tokenizers 0.23.3: the ByteLevel decoder breaks added tokens that have letters of Latin-1.
#
# Expected: an added token is text and is decoded as it was written, whatever its letters.
# Happens: the decoder takes every token for the byte alphabet (256 printable letters that stand for bytes). "é" is one of
# these letters, so the added token "café" is decoded as the bytes "caf", 0xE9: no UTF-8, U+FFFD. Tokens with any letter
# outside of the alphabet, such as "日本" or "café au lait" with its spaces, are left alone and come out right.
# Matters: decode(encode(text)) loses text for most European languages as soon as words or markers are added.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3
cd "$folder"
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - <<'PYTHON'
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
tokenizer = byte_level()
tokenizer.add_tokens(["café", "<|größe|>", "日本", "café au lait"])
decoded = {}
for text in ("the café", "<|größe|> fox", "the 日本", "café au lait"):
    encoding = tokenizer.encode(text)
    decoded[text] = tokenizer.decode(encoding.ids)
    print(f"{text!r}: tokens {encoding.tokens}, decoded {decoded[text]!r}")
plain = byte_level()
print(f"without added tokens: {plain.decode(plain.encode('the café').ids)!r}")
broken = [text for text, result in decoded.items() if result != text]
if broken != ["the café", "<|größe|> fox"] or plain.decode(plain.encode("the café").ids) != "the café":
    raise SystemExit("not as stated")
print("as stated: added tokens of Latin-1 letters are not decoded to what was encoded")
PYTHON
