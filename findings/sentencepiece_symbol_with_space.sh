#!/usr/bin/env bash
# sentencepiece 0.2.3: a user-defined symbol with a space in it is accepted, gets an id and is never found in a text.
#
# Expected: "always one piece", as for every user-defined symbol, or an error from the trainer.
# Happens: symbols are looked for in the normalised text, where a space is "▁" (U+2581); the trainer does not normalise the
# symbol. "foo bar" is cut into letters; the symbol has to be given as "foo▁bar". Its row of the model is never trained.
# Matters: markers such as "<|end of turn|>" look right in the vocabulary (piece_to_id finds them) and are never produced.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sentencepiece==0.2.3
cd "$folder"
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - <<'PYTHON'
import io
import random

import sentencepiece

print("sentencepiece", sentencepiece.__version__)
random.seed(0)
words = "the quick brown fox jumps over lazy dog hello world text theme there number foo bar".split()
lines = [" ".join(random.choice(words) for _ in range(8)) for _ in range(300)]
found = {}
for symbol in ("foobar", "foo bar", "foo▁bar"):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=60,
        user_defined_symbols=[symbol],
        minloglevel=3,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    text = "the " + symbol.replace("▁", " ") + " text"
    pieces = processor.encode(text, out_type=str)
    found[symbol] = symbol in pieces
    print(f"symbol {symbol!r} has id {processor.piece_to_id(symbol)}; {text!r} gives {pieces}")
if found != {"foobar": True, "foo bar": False, "foo▁bar": True}:
    raise SystemExit("not as stated")
print("as stated: the symbol with a space is never found")
PYTHON
