"""Roles of tokens and chat templates, compared with what transformers makes of the same files."""

import os
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from transformers import TokenizersBackend

from motet.errors import AdapterError, ModelError
from motet.file_names import TOKENIZER_CONFIG
from motet.tokenizer_config import (
    MAX_TEMPLATE_BYTES,
    TEMPLATE_FILE,
    read_tokenizer_config,
)
from tests.model_factory import make_tokenizer
from tests.prompt_files import write_files

ADDED = {
    "content": "<a>",
    "lstrip": False,
    "normalized": False,
    "rstrip": False,
    "single_word": False,
}
TYPED = {"__type": "AddedToken", **ADDED, "special": True}
LEGACY = "special_tokens_map.json"
FOLDER = "additional_chat_templates"

VARIANTS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "an empty object": {TOKENIZER_CONFIG: {}},
    "texts": {TOKENIZER_CONFIG: {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>"}},
    "every role": {
        TOKENIZER_CONFIG: {f"{name}_token": "</s>" for name in ("unk", "sep", "cls", "mask")}
    },
    "null": {TOKENIZER_CONFIG: {"bos_token": None, "eos_token": "</s>"}},
    "added tokens": {TOKENIZER_CONFIG: {"bos_token": TYPED, "eos_token": "</s>"}},
    "a role of its own": {TOKENIZER_CONFIG: {"image_token": "<image>", "eos_token": "</s>"}},
    "an added token in a role of its own": {TOKENIZER_CONFIG: {"image_token": TYPED}},
    "an untyped object in a role of its own": {TOKENIZER_CONFIG: {"image_token": ADDED}},
    "a number in a role of its own": {TOKENIZER_CONFIG: {"image_token": 5, "add_bos_token": True}},
    "named extra tokens": {
        TOKENIZER_CONFIG: {"extra_special_tokens": {"image": "<i>", "sound": TYPED}}
    },
    "listed extra tokens": {TOKENIZER_CONFIG: {"extra_special_tokens": ["<i>"], "x_token": "<x>"}},
    "named additional tokens": {TOKENIZER_CONFIG: {"additional_special_tokens": {"image": "<i>"}}},
    "both of them": {
        TOKENIZER_CONFIG: {
            "additional_special_tokens": {"image": "<i>"},
            "extra_special_tokens": {"sound": "<s>"},
        }
    },
    "named additional tokens and listed extra ones": {
        TOKENIZER_CONFIG: {
            "additional_special_tokens": {"image": "<i>"},
            "extra_special_tokens": ["<j>"],
        }
    },
    "saved roles of the model": {
        TOKENIZER_CONFIG: {"model_specific_special_tokens": {"sound": "<s>"}}
    },
    "saved roles that lose": {
        TOKENIZER_CONFIG: {"model_specific_special_tokens": {"sound": "<s>"}, "image_token": "<i>"}
    },
    "a common role among the extra ones": {
        TOKENIZER_CONFIG: {"bos_token": "<s>", "extra_special_tokens": {"bos_token": "</s>"}}
    },
    "the legacy file": {LEGACY: {"bos_token": "<s>", "eos_token": ADDED, "image_token": "<i>"}},
    "the legacy file wins": {
        TOKENIZER_CONFIG: {"bos_token": "<s>", "pad_token": "<s>", "image_token": "<i>"},
        LEGACY: {"bos_token": "</s>", "pad_token": None, "image_token": "<j>", "x_token": ADDED},
    },
    "the legacy file is out of use": {
        TOKENIZER_CONFIG: {"bos_token": "<s>", "added_tokens_decoder": {"1": ADDED}},
        LEGACY: {"bos_token": "</s>"},
    },
    "the legacy file with extra tokens": {
        TOKENIZER_CONFIG: {"x_token": "<x>"},
        LEGACY: {"extra_special_tokens": {"image": "<i>"}, "additional_special_tokens": ["<j>"]},
    },
    "the legacy file with listed tokens": {LEGACY: {"extra_special_tokens": [ADDED, "<j>"]}},
    "a template": {TOKENIZER_CONFIG: {"chat_template": "in json"}},
    "an empty template": {TOKENIZER_CONFIG: {"chat_template": ""}},
    "no template": {TOKENIZER_CONFIG: {"chat_template": None}},
    "a list of templates": {
        TOKENIZER_CONFIG: {
            "chat_template": [
                {"name": "default", "template": "one"},
                {"name": "tool_use", "template": "two"},
            ]
        }
    },
    "an empty list of templates": {TOKENIZER_CONFIG: {"chat_template": []}},
    "an object of templates": {
        TOKENIZER_CONFIG: {"chat_template": {"default": "one", "rag": "two"}}
    },
    "a template file": {TEMPLATE_FILE: "in a file\n"},
    "a template file wins": {
        TEMPLATE_FILE: "in a file",
        TOKENIZER_CONFIG: {"chat_template": "in json"},
    },
    "a template file of many lines": {TEMPLATE_FILE: "one\r\ntwo\rthree\n\nÄ"},
    "an empty template file": {TEMPLATE_FILE: ""},
    "more template files": {TEMPLATE_FILE: "one", f"{FOLDER}/rag.jinja": "two"},
    "only a template file with a name": {
        f"{FOLDER}/rag.jinja": "two",
        TOKENIZER_CONFIG: {"chat_template": "in json"},
    },
    "two default template files": {TEMPLATE_FILE: "one", f"{FOLDER}/default.jinja": "two"},
    "a default template file in the folder": {f"{FOLDER}/default.jinja": "two"},
    "an empty template folder": {f"{FOLDER}/read.me": "", TOKENIZER_CONFIG: {"chat_template": "x"}},
    "a template of processors": {"chat_template.json": {"chat_template": "for pictures"}},
}


@pytest.mark.parametrize("files", VARIANTS.values(), ids=VARIANTS)
def test_is_read_as_transformers_reads_it(tmp_path: Path, files: dict[str, Any]) -> None:
    make_tokenizer(tmp_path)
    (tmp_path / TOKENIZER_CONFIG).unlink()
    write_files(tmp_path, files)

    tokenizer = TokenizersBackend.from_pretrained(tmp_path)
    found = read_tokenizer_config(tmp_path)

    assert found.special_tokens == tokenizer.special_tokens_map
    assert found.chat_template == tokenizer.chat_template


@pytest.mark.parametrize("template", [None, "one", {"default": "one", "rag": "two"}])
@pytest.mark.parametrize("is_legacy", [False, True])
def test_what_transformers_saves_is_read(
    tmp_path: Path, template: str | dict[str, str] | None, is_legacy: bool
) -> None:
    tokenizer = TokenizersBackend.from_pretrained(
        make_tokenizer(tmp_path / "first"), extra_special_tokens={"image_token": "<image>"}
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(tmp_path / "saved", save_jinja_files=not is_legacy)

    found = read_tokenizer_config(tmp_path / "saved")

    assert found.special_tokens == tokenizer.special_tokens_map
    assert found.special_tokens["image_token"] == "<image>"
    assert found.chat_template == template


def test_needs_no_vocabulary(tmp_path: Path) -> None:
    found = read_tokenizer_config(write_files(tmp_path, {TOKENIZER_CONFIG: {"eos_token": "<end>"}}))

    assert (found.special_tokens, found.chat_template) == ({"eos_token": "<end>"}, None)


def test_does_not_import_transformers() -> None:
    script = "import sys, motet.tokenizer_config; sys.exit('transformers' in sys.modules)"

    assert run([sys.executable, "-c", script], check=False).returncode == 0


UNUSABLE: dict[str, tuple[dict[str, Any], str]] = {
    "no JSON": ({TOKENIZER_CONFIG: "{"}, "tokenizer_config.json is not valid JSON"),
    "a list": ({TOKENIZER_CONFIG: []}, "tokenizer_config.json is [], not an object"),
    "a number as a role": (
        {TOKENIZER_CONFIG: {"eos_token": 2}},
        "tokenizer_config.json has 2 as eos_token: give the text of a token",
    ),
    "an untyped object": (
        {TOKENIZER_CONFIG: {"eos_token": {"a": 1}}},
        "tokenizer_config.json has {'a': 1} as eos_token",
    ),
    "an added token without text": (
        {TOKENIZER_CONFIG: {"bos_token": {"__type": "AddedToken"}}},
        "tokenizer_config.json has {'__type': 'AddedToken'} as bos_token",
    ),
    "a number among the extra tokens": (
        {TOKENIZER_CONFIG: {"extra_special_tokens": {"image": 7}}},
        "tokenizer_config.json has 7 as image",
    ),
    "a number as a role in the legacy file": (
        {TOKENIZER_CONFIG: {"bos_token": "<s>"}, LEGACY: {"eos_token": 2}},
        "special_tokens_map.json has 2 as eos_token",
    ),
    "a number as a role beside the legacy file": (
        {TOKENIZER_CONFIG: {"bos_token": 1}, LEGACY: {"eos_token": "</s>"}},
        "tokenizer_config.json has 1 as bos_token",
    ),
    "a number as a template": (
        {TOKENIZER_CONFIG: {"chat_template": 5}},
        "tokenizer_config.json has 5 as chat_template: give a text",
    ),
    "templates without names": (
        {TOKENIZER_CONFIG: {"chat_template": [{"template": "x"}]}},
        "tokenizer_config.json has [{'template': 'x'}] as chat_template",
    ),
    "a list of texts": (
        {TOKENIZER_CONFIG: {"chat_template": ["x"]}},
        "tokenizer_config.json has ['x'] as chat_template",
    ),
    "a long template": (
        {TEMPLATE_FILE: "x" * (MAX_TEMPLATE_BYTES + 1)},
        f"chat_template.jinja is larger than {MAX_TEMPLATE_BYTES} bytes",
    ),
}


@pytest.mark.parametrize(("files", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_used_is_named(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError) as error:
        read_tokenizer_config(write_files(tmp_path, files))

    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / TEMPLATE_FILE).write_bytes(b"\xff\xfe")

    with pytest.raises(AdapterError, match=r"^adapter '.*': chat_template.jinja is no text"):
        read_tokenizer_config(tmp_path, is_adapter=True)


@pytest.mark.parametrize("name", [TOKENIZER_CONFIG, LEGACY, TEMPLATE_FILE])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)

    with pytest.raises(ModelError, match=f"{name} is no regular file"):
        read_tokenizer_config(tmp_path)


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / TEMPLATE_FILE).symlink_to(tmp_path / "gone")

    with pytest.raises(ModelError, match=r"chat_template.jinja is missing"):
        read_tokenizer_config(tmp_path)
