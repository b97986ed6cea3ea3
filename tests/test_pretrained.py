"""The tokenizer that serves is the one that the files of the directory say."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer as Backend
from tokenizers import models

from motet.errors import ModelError
from motet.file_names import TOKENIZER_CONFIG
from motet.pretrained import LoadedTokenizer, load_tokenizer
from motet.server.text.tokenizer import Tokenizer
from motet.tokenizer.check import check_probes
from tests.tokenizer_factory import (
    KINDS,
    SENTENCEPIECE_KINDS,
    SPECIAL,
    texts,
    train_sentencepiece,
)


@pytest.mark.parametrize("kind", KINDS)
def test_tokenizer_json_gives_the_ids_and_texts_of_its_library(kind: str, tmp_path: Path) -> None:
    file = write(tmp_path, KINDS[kind]())
    reference = Backend.from_file(str(file))
    reference.no_truncation()
    reference.no_padding()
    tokenizer = Tokenizer.load(str(tmp_path))
    for text in texts():
        for special in (True, False):
            ids = tokenizer.encode(text, add_special_tokens=special)
            assert ids == reference.encode(text, add_special_tokens=special).ids, text
        assert tokenizer.decode(ids) == reference.decode(ids, skip_special_tokens=False)
        assert streamed(tokenizer, ids) == reference.decode(ids), text


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "mistral"])
def test_classes_and_files_of_others_do_not_change_tokenizer_json(
    model_type: str, tmp_path: Path
) -> None:
    backend = KINDS["words"]()
    write(tmp_path, backend, tokenizer_class="LlamaTokenizer", legacy=False)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    (tmp_path / "tekken.json").write_text("{}")
    (tmp_path / "tokenizer.model").write_text("no model")
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    loaded = load(tmp_path)
    assert {text: loaded.backend.encode(text).ids for text in texts()} == {
        text: backend.encode(text).ids for text in texts()
    }


def test_no_token_is_invented_behind_the_vocabulary(tmp_path: Path) -> None:
    backend = KINDS["Qwen2"]()
    write(tmp_path, backend, tokenizer_class="Qwen2Tokenizer", eos_token="</s>")
    loaded = load(tmp_path)
    assert (loaded.num_token_ids, loaded.eos_token_id) == (backend.get_vocab_size(), 2)


def test_what_stands_around_a_text_is_in_tokenizer_json_alone(tmp_path: Path) -> None:
    """As with transformers, which asks tokenizer_config.json only where it makes the tokenizer."""
    write(tmp_path, KINDS["Qwen2"](), bos_token="<s>", add_bos_token=True)
    tokenizer = Tokenizer.load(str(tmp_path))
    assert tokenizer.encode("a") == tokenizer.encode("a", add_special_tokens=False)


def test_beginnings_and_ends_of_the_configuration_surround_texts_of_tokenizer_model(
    tmp_path: Path,
) -> None:
    train_sentencepiece(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"add_eos_token": True}))
    tokenizer = Tokenizer.load(str(tmp_path))
    bos, *ids, eos = tokenizer.encode("a")
    assert (tokenizer.pieces([bos, eos]), ids) == (
        ["<s>", "</s>"],
        tokenizer.encode("a", add_special_tokens=False),
    )


@pytest.mark.parametrize("kind", SENTENCEPIECE_KINDS)
def test_tokenizer_model_alone_gives_the_ids_of_sentencepiece(kind: str, tmp_path: Path) -> None:
    train_sentencepiece(tmp_path, **SENTENCEPIECE_KINDS[kind])
    processor = SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    tokenizer = Tokenizer.load(str(tmp_path))
    symbols = [processor.id_to_piece(i) for i in range(len(processor)) if is_symbol(processor, i)]
    plain = [text for text in texts(500) if not any(symbol in text for symbol in symbols)]
    assert len(plain) > 100
    for text in plain:
        ids = processor.encode(text)
        assert tokenizer.encode(text, add_special_tokens=False) == ids, text
        assert tokenizer.encode(text) == [processor.bos_id(), *ids]
        unknown = processor.unk_id() in ids
        if "\ufffd" not in text and not unknown and kind != "spaces behind":
            assert streamed(tokenizer, ids) == processor.decode(ids)


def is_symbol(processor: SentencePieceProcessor, index: int) -> bool:
    return bool(processor.is_control(index) or processor.is_unknown(index))


def test_tokens_written_in_a_text_are_these_tokens_and_part_it(tmp_path: Path) -> None:
    train_sentencepiece(tmp_path, **SENTENCEPIECE_KINDS["own symbols"])
    processor = SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    ids = Tokenizer.load(str(tmp_path)).encode("<s>[INST]ba<x>ba", add_special_tokens=False)
    instruction = processor.piece_to_id("[INST]")
    assert ids == [1, instruction, *processor.encode("ba<x>ba")]


@pytest.mark.parametrize("file", ["tokenizer_config.json", "added_tokens.json"])
def test_tokens_added_to_tokenizer_model_have_their_ids(file: str, tmp_path: Path) -> None:
    train_sentencepiece(tmp_path)
    end = len(SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model")))
    decoder = {str(end): {"content": "<|im_end|>", "special": True}}
    written = {
        "tokenizer_config.json": {"added_tokens_decoder": decoder, "eos_token": "<|im_end|>"},
        "added_tokens.json": {"<|im_end|>": end},
    }
    (tmp_path / file).write_text(json.dumps(written[file]))
    loaded = load(tmp_path)
    assert loaded.num_token_ids == end + 1
    assert loaded.backend.encode("<|im_end|>", add_special_tokens=False).ids == [end]


TIKTOKEN = b"".join(base64.b64encode(bytes([b])) + b" %d\n" % b for b in range(256))
REFUSED: dict[str, tuple[dict[str, bytes], str]] = {
    "ranks of tiktoken": (
        {"tokenizer.model": TIKTOKEN},
        "tokenizer.model is no SentencePiece model .*tiktoken.*the tokenizer.json of the model",
    ),
    "an empty model": ({"tokenizer.model": b""}, "no SentencePiece model .it is empty"),
    "a vocabulary without merges": (
        {"vocab.json": b'{"a": 0}', "config.json": b'{"model_type": "qwen2"}'},
        "merges.txt is not: download it too",
    ),
    "a vocabulary of no known class": (
        {"vocab.json": b'{"a": 0}', "merges.txt": b"", "config.json": b'{"model_type": "llama"}'},
        "model_type 'llama' and tokenizer_class None: download the tokenizer.json.*GPT2Tokenizer",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_cannot_serve_are_refused_for_their_true_reason(
    case: str, tmp_path: Path
) -> None:
    files, message = REFUSED[case]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_added_tokens_of_another_model_are_refused(tmp_path: Path) -> None:
    train_sentencepiece(tmp_path)
    (tmp_path / "added_tokens.json").write_text('{"<pad>": 5}')
    with pytest.raises(ModelError, match="token 5 is '<pad>' in the files beside token"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("config", [None, {}, {"eos_token": "</s>"}])
def test_a_vocabulary_with_merges_is_cut_as_its_family_does(
    config: dict[str, Any] | None, tmp_path: Path
) -> None:
    backend = KINDS["Qwen2"]()
    backend.model.save(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    loaded = load(tmp_path)
    is_invented = config is None  # nothing says which tokens are special: the class does
    assert loaded.num_token_ids == backend.get_vocab_size() + is_invented
    for text in texts():
        if not any(token in text for token in SPECIAL):
            assert loaded.backend.encode(text).ids == backend.encode(text).ids


def test_a_backend_that_was_changed_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, KINDS["Llama 2"]())
    loaded = load(tmp_path)
    check_probes(loaded.probes, lambda text: loaded.backend.encode(text).ids)
    loaded.backend.normalizer = None
    with pytest.raises(ModelError, match=r"serves 'Hello, world!' as .* its file says"):
        check_probes(loaded.probes, lambda text: loaded.backend.encode(text).ids)


def test_the_check_takes_a_moment(tmp_path: Path) -> None:
    vocabulary = {f"token{index}": index for index in range(150_000)}
    write(tmp_path, Backend(models.BPE(vocabulary, [], byte_fallback=False)))
    loaded = load(tmp_path)
    began = time.perf_counter()
    check_probes(loaded.probes, lambda text: loaded.backend.encode(text).ids)
    assert time.perf_counter() - began < 0.05


def test_a_vocabulary_without_the_token_for_the_unknown_is_refused(tmp_path: Path) -> None:
    write(tmp_path, Backend(models.WordLevel({"a": 0}, unk_token="<unk>")))
    with pytest.raises(ModelError, match=r"cannot be loaded \(Exception: .*\[UNK\]"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("index", ["-100000", "-1", str(2**40)])
def test_an_added_token_whose_id_is_none_is_refused(index: str, tmp_path: Path) -> None:
    train_sentencepiece(tmp_path)
    added = {"added_tokens_decoder": {index: {"content": "<z>"}}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(added))
    with pytest.raises(ModelError, match=f"{TOKENIZER_CONFIG} has added tokens .*{index} is no id"):
        load_tokenizer(tmp_path)


def write(directory: Path, backend: Backend, **config: Any) -> Path:
    """tokenizer.json, and tokenizer_config.json with `config` if there is any."""
    file = directory / "tokenizer.json"
    backend.save(str(file))
    if config:
        (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return file


def load(directory: Path) -> LoadedTokenizer:
    loaded = load_tokenizer(directory)
    assert loaded is not None
    return loaded


def streamed(tokenizer: Tokenizer, ids: list[int]) -> str:
    detokenizer = tokenizer.detokenizer(())
    return "".join(map(detokenizer.push, ids)) + detokenizer.flush()
