"""The trainer of the demo model, a few steps of it."""

import random
from dataclasses import replace
from itertools import chain
from pathlib import Path

from rich.progress import Progress
from transformers import AutoTokenizer

from motet.demo.make.corpus import base_documents
from motet.demo.make.train import Recipe, make

RECIPE = Recipe()
FEW = replace(
    RECIPE,
    short=replace(RECIPE.short, steps=2, rows=2, length=64, warmup_steps=1),
    long=replace(RECIPE.long, steps=1, length=128),
    names=replace(RECIPE.names, steps=2, rows=2, length=64, warmup_steps=1),
    voice=replace(RECIPE.voice, steps=2, rows=2, length=64, warmup_steps=1),
    num_tokenizer_texts=300,
)
STAGES = ("town", "names", "pirate", "json")


def trained(directory: Path, recipe: Recipe) -> dict[str, bytes]:
    """The files that a training of a few steps leaves behind."""
    with Progress(disable=True) as progress:
        make(directory, recipe, STAGES, progress)
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def test_equal_seeds_make_equal_bytes(tmp_path: Path) -> None:
    first = trained(tmp_path / "first", FEW)
    assert first == trained(tmp_path / "second", FEW)
    other = trained(tmp_path / "other", replace(FEW, seed=1))
    for file in ("town/model.safetensors", "voices/pirate/adapter_model.safetensors"):
        assert first[file] != other[file]


def test_training_writes_only_what_is_served(tmp_path: Path) -> None:
    files = set(trained(tmp_path, FEW))
    assert files == {
        "loss.json",
        "town/chat_template.jinja",
        "town/config.json",
        "town/generation_config.json",
        "town/model.safetensors",
        "town/tokenizer.json",
        "town/tokenizer_config.json",
        *(f"voices/{name}/adapter_config.json" for name in ("pirate", "json")),
        *(f"voices/{name}/adapter_model.safetensors" for name in ("pirate", "json")),
    }


def test_pieces_of_a_document_encode_as_the_whole_text(tmp_path: Path) -> None:
    trained(tmp_path, FEW)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "town")
    documents = base_documents(random.Random(0))
    for _ in range(50):
        texts = [piece.text for piece in next(documents)]
        pieces = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
        whole = tokenizer.encode("".join(texts), add_special_tokens=False)
        assert list(chain.from_iterable(pieces)) == whole
