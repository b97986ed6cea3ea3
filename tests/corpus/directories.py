"""A case as directories on disk, as somebody would have downloaded them."""

import os
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file

from tests.corpus.adapter_files import WEIGHTS_FILE, AdapterShelf
from tests.corpus.cases import Case
from tests.corpus.companions import BASE_TEMPLATE, COMPANIONS, TEMPLATE_FILE, write_companions
from tests.corpus.models import ModelShelf
from tests.corpus.tokenizer_kinds import TOKENIZER_KINDS, write_tokenizer
from tests.corpus.wrappers import WRAPPERS


@dataclass(frozen=True, slots=True)
class Directories:
    """What motet is given, and what PEFT is given in its place."""

    model: Path
    adapter: Path | None
    as_peft_saved: Path | None
    """The adapter before its names were wrapped, which PEFT would not find."""


class Shelf:
    """Everything that is made once and shared."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models = ModelShelf(root)
        self.adapters = AdapterShelf(self.models, root / "adapters")

    def lay_out(self, case: Case) -> Directories:
        """Make the directories of `case`, sharing the large files by hard links."""
        root = self.root / "cases" / case.name
        model = self.models.link(case.model, root / "model")
        kind = TOKENIZER_KINDS[case.tokenizer]
        write_tokenizer(kind, model)
        if kind.has_text:
            (model / TEMPLATE_FILE).write_text(BASE_TEMPLATE)
        if case.adapter is None:
            return Directories(model, None, None)
        saved = self.adapters.directory(case.adapter, case.model.weights, case.adapter_dtype)
        adapter = _wrapped(saved, root / "adapter", case.wrapper)
        write_companions(COMPANIONS[case.companions], model, adapter)
        return Directories(model, adapter, saved)


def _wrapped(saved: Path, path: Path, wrapper: str) -> Path:
    path.mkdir()
    for file in filter(Path.is_file, saved.iterdir()):
        os.link(file, path / file.name)
    if wrapper == "plain":
        return path
    rename = WRAPPERS[wrapper]
    (path / WEIGHTS_FILE).unlink()  # else the shared file would change
    tensors = load_file(saved / WEIGHTS_FILE)
    renamed = {rename(name): tensor for name, tensor in tensors.items()}
    save_file(renamed, path / WEIGHTS_FILE, {"format": "pt"})
    return path
