"""The tokenizer files of a model directory, in all the sets in which they are found."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.corpus.sentencepiece_files import write_sentencepiece
from tests.corpus.tokenizer_files import FILES, end_of
from tests.corpus.tokenizer_parts import (
    DEEPSEEK_SPECIALS,
    QWEN_SPECIALS,
    UNK,
    byte_level_bpe,
    tokenizer_state,
)

Tokenizer = Any

LLAMA_LIKE = ("llama", "mistral")
QWEN_FAMILIES = ("qwen2", "qwen3")


@dataclass(frozen=True, slots=True)
class TokenizerKind:
    """Which files there are, what is right for them, and what tokenizer_config.json adds."""

    file: str = ""
    """Key of FILES: what tokenizer.json holds."""
    config: Mapping[str, Any] | None = field(default_factory=dict)
    """More fields of tokenizer_config.json; None: there is no such file."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Name -> content of files beside, of which nothing should be taken."""
    sentencepiece: str = ""
    """Algorithm of a tokenizer.model that is there."""
    has_tables: bool = False
    """vocab.json and merges.txt are there."""
    families: tuple[str, ...] = LLAMA_LIKE + QWEN_FAMILIES
    """Those in which it is found."""

    @property
    def has_text(self) -> bool:
        return bool(self.file or self.sentencepiece or self.has_tables)

    @property
    def beginning(self) -> str:
        """The token that its files name as the beginning."""
        return DEEPSEEK_SPECIALS[0] if self.file.startswith("deepseek") else "<s>"

    @property
    def end(self) -> str | None:
        """The token that its files name as the end, if they name one."""
        if self.config is None or not self.has_text:
            return None
        if self.has_tables:
            return QWEN_SPECIALS[2]
        return end_of(self.file)


def _classed(name: str, **more: Any) -> dict[str, Any]:
    return {"tokenizer_class": name, **more}


LLAMA = _classed("LlamaTokenizer", legacy=False)
OLD_LLAMA = _classed("LlamaTokenizer")
FAST_LLAMA = _classed("LlamaTokenizerFast")
GENERIC = _classed("PreTrainedTokenizerFast")
QWEN = _classed("Qwen2Tokenizer", unk_token=None, add_prefix_space=False)
ADDED = {
    "added_tokens_decoder": {
        str(480 + index): {"content": token, "special": True}  # behind those of vocab.json
        for index, token in enumerate(QWEN_SPECIALS)
    }
}
AN_OBJECT = {"eos_token": {"__type": "AddedToken", "content": "</s>", "special": True}}
SOME_JSON = '{"config": {"pattern": "x"}, "vocab": []}'

_PLAIN = {name: TokenizerKind(name, GENERIC) for name in FILES}
_DRESSED = {
    # One content under the several names that real directories give it.
    "qwen-own-class": TokenizerKind("qwen", QWEN),
    "qwen-no-class": TokenizerKind("qwen", {"unk_token": None}),
    "qwen-llama-class": TokenizerKind("qwen", FAST_LLAMA),
    "byte-level-llama-class": TokenizerKind("byte-level", FAST_LLAMA),
    "byte-level-qwen-class": TokenizerKind("byte-level", QWEN),
    "byte-level-no-class": TokenizerKind("byte-level"),
    "deepseek-llama-class": TokenizerKind("deepseek", FAST_LLAMA),
    "deepseek-old-llama-class": TokenizerKind("deepseek", OLD_LLAMA),
    "llama2-own-class": TokenizerKind("llama2", LLAMA),
    "llama2-legacy": TokenizerKind("llama2", OLD_LLAMA),
    "llama2-fast-class": TokenizerKind("llama2", FAST_LLAMA | {"legacy": True}),
    "llama2-says-no-bos": TokenizerKind("llama2", LLAMA | {"add_bos_token": False}),
    "llama2-says-eos": TokenizerKind("llama2", LLAMA | {"add_eos_token": True}),
    "metaspace-first-llama-class": TokenizerKind("metaspace-first", FAST_LLAMA),
    "metaspace-always-llama-class": TokenizerKind("metaspace-always", LLAMA),
    # What tokenizer_config.json says is heard by nobody where tokenizer.json puts nothing around.
    "deepseek-says-bos": TokenizerKind("deepseek-no-frame", FAST_LLAMA | {"add_bos_token": True}),
    "no-frame-says-both": TokenizerKind(
        "no-frame", LLAMA | {"add_bos_token": True, "add_eos_token": True}
    ),
    "no-frame-says-none": TokenizerKind("no-frame", LLAMA | {"add_bos_token": False}),
    "words-no-unknown": TokenizerKind("words", {"unk_token": None}),
    "words-qwen-class": TokenizerKind("words", QWEN),
    "unigram-t5-class": TokenizerKind("unigram", _classed("T5TokenizerFast")),
    "unknown-class": TokenizerKind("byte-level", _classed("TokenizersBackend")),
    "custom-class": TokenizerKind(
        "byte-level", _classed("OwnTokenizer", auto_map={"AutoTokenizer": ["own.Own", None]})
    ),
    "end-an-object": TokenizerKind("byte-level", GENERIC | AN_OBJECT),
    "alone": TokenizerKind("byte-level", None),
    "llama2-alone": TokenizerKind("llama2", None),
    "tekken-beside": TokenizerKind("metaspace-first", LLAMA, {"tekken.json": SOME_JSON}),
    "tables-beside": TokenizerKind(
        "byte-level", GENERIC, {"vocab.json": '{"a": 0, "b": 1}', "merges.txt": "#version: 0.2\n"}
    ),
    "model-beside": TokenizerKind("llama2", LLAMA, sentencepiece="bpe"),
}
_FILELESS = {
    "sentencepiece-bpe": TokenizerKind("", OLD_LLAMA, sentencepiece="bpe", families=LLAMA_LIKE),
    "sentencepiece-unigram": TokenizerKind("", LLAMA, sentencepiece="unigram", families=LLAMA_LIKE),
    "sentencepiece-alone": TokenizerKind("", None, sentencepiece="bpe", families=LLAMA_LIKE),
    "tables": TokenizerKind("", QWEN | ADDED, has_tables=True, families=QWEN_FAMILIES),
    "tables-alone": TokenizerKind("", None, has_tables=True, families=QWEN_FAMILIES),
    "none": TokenizerKind("", None),
}
TOKENIZER_KINDS = _PLAIN | _DRESSED | _FILELESS
"""Name -> kind."""


def write_tokenizer(kind: TokenizerKind, path: Path) -> None:
    """Write the files into a model directory."""
    if kind.file:
        (path / "tokenizer.json").write_text(_content(kind.file))
    if kind.sentencepiece:
        write_sentencepiece(path / "tokenizer.model", kind.sentencepiece)
    if kind.has_tables:
        _write_tables(path)
    if kind.config is not None:
        names = {} if kind.has_tables or kind.file == "qwen" else {"bos_token": kind.beginning}
        fields = {"unk_token": UNK, "eos_token": kind.end, **names} | dict(kind.config)
        (path / "tokenizer_config.json").write_text(json.dumps(fields, ensure_ascii=False))
    for name, content in kind.others.items():
        (path / name).write_text(content)


@cache
def _content(file: str) -> str:
    make: Callable[[], Tokenizer] = FILES[file]
    content: str = make().to_str()
    return content


@cache
def _tables() -> tuple[str, str]:
    from tokenizers import Tokenizer as Backend

    model = tokenizer_state(Backend(byte_level_bpe(())))["model"]
    merges = [" ".join(merge) for merge in model["merges"]]
    return json.dumps(model["vocab"]), "\n".join(["#version: 0.2", *merges, ""])


def _write_tables(path: Path) -> None:
    """As Qwen2 ships them: its special tokens are no part of the vocabulary."""
    vocab, merges = _tables()
    (path / "vocab.json").write_text(vocab)
    (path / "merges.txt").write_text(merges)
