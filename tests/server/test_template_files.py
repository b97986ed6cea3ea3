"""Where the chat template of a directory is found, and what it is given."""

import json
from pathlib import Path

import pytest

from motet.errors import ModelError
from motet.server.text.tokenizer import Tokenizer
from tests.model_factory import CHAT_TEMPLATE, make_tokenizer
from tests.server.templates import LLAMA3, MISTRAL, QWEN3, USER, ZEPHYR, load, render, template_of
from tests.tokenizer_factory import train_sentencepiece


@pytest.mark.parametrize(
    ("source", "num_bos"), [(LLAMA3, 1), (CHAT_TEMPLATE, 1), (MISTRAL, 1), (QWEN3, 0), (ZEPHYR, 0)]
)
def test_the_template_alone_writes_special_tokens(
    tmp_path: Path, source: str, num_bos: int
) -> None:
    template, tokenizer = load(tmp_path, source)
    ids = Tokenizer.load(str(tmp_path)).encode(render(template, [USER]), add_special_tokens=False)
    assert ids.count(tokenizer.bos_token_id) == num_bos
    assert ids == tokenizer.apply_chat_template([USER], tokenize=True, return_dict=False)


@pytest.mark.parametrize("has_files", [False, True])
def test_a_model_may_have_no_template(tmp_path: Path, has_files: bool) -> None:
    if has_files:
        make_tokenizer(tmp_path)
    assert template_of(tmp_path) is None


@pytest.mark.parametrize(
    "entry",
    [
        CHAT_TEMPLATE,
        [
            {"name": "tool_use", "template": "tools"},
            {"name": "default", "template": CHAT_TEMPLATE},
        ],
    ],
)
def test_templates_in_the_tokenizers_config_are_found(tmp_path: Path, entry: object) -> None:
    write_config_entry(make_tokenizer(tmp_path), entry)
    template = template_of(tmp_path)
    assert template is not None
    assert render(template, [USER]).startswith("<s>[user] Say")


def test_a_template_has_the_roles_that_the_vocabulary_itself_names(tmp_path: Path) -> None:
    train_sentencepiece(tmp_path)  # its own file says which of its pieces are <s> and </s>
    (tmp_path / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    template = template_of(tmp_path)
    assert template is not None
    assert render(template, [USER]).startswith("<s>[user] Say")


BROKEN = {
    "no end": ("{% if %}", "cannot be compiled .*remove it to serve without chat"),
    "unknown filter": ("{{ 1 | nothing }}", "cannot be compiled .*nothing"),
    "too deep": ("{{" + "(" * 20_000, "cannot be compiled"),
    "no default": ([{"name": "rag", "template": "x"}], "have no 'default'"),
    "no text": (7, "has 7 as chat_template: give a text"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_template_that_cannot_be_used_stops_the_start(tmp_path: Path, case: str) -> None:
    entry, message = BROKEN[case]
    write_config_entry(make_tokenizer(tmp_path), entry)
    with pytest.raises(ModelError, match=message):
        template_of(tmp_path)


def write_config_entry(directory: Path, entry: object) -> None:
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": entry}))
