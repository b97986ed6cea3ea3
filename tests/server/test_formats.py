"""Formats of adapters are read when they are first used, and forgotten with them."""

from dataclasses import replace
from pathlib import Path

import pytest

from motet.engine import Adapter, AdapterMirror, AdapterNews, Standing
from motet.errors import AdapterError
from motet.server.text import formats as formats_module
from motet.server.text.formats import PromptFormats, load_formats
from motet.server.text.given_formats import NOTHING_GIVEN
from motet.server.text.tokenizer import Tokenizer
from motet.tokenizer_config import TEMPLATE_FILE
from tests.server.scripted import an_info


def an_adapter(tmp_path: Path, name: str, template: str | None, generation: int = 1) -> Adapter:
    path = tmp_path / name
    path.mkdir()
    if template is not None:
        (path / TEMPLATE_FILE).write_text(template)
    return Adapter(name, None, generation, 0, 0, str(path))


def formats_of(model: Path, tokenizer: Tokenizer, mirror: AdapterMirror) -> PromptFormats:
    info = an_info(model, adapters=tuple(mirror.current.values()))
    return load_formats(info, tokenizer, NOTHING_GIVEN, mirror)


def test_what_is_unread_is_read_at_its_first_use_and_once(
    tmp_path: Path, model_dir: Path, tokenizer: Tokenizer
) -> None:
    adapter = an_adapter(tmp_path, "a", "mine {{ messages }}")
    formats = formats_of(model_dir, tokenizer, AdapterMirror([adapter]))
    assert not formats.is_known(adapter) and not formats.own
    own = formats.of(adapter)
    assert own is not formats.base and formats.own == {"a": own}
    (tmp_path / "a" / TEMPLATE_FILE).write_text("{% for %}")
    assert formats.is_known(adapter) and formats.of(adapter) is own


def test_what_brings_nothing_has_the_base_s(
    tmp_path: Path, model_dir: Path, tokenizer: Tokenizer
) -> None:
    adapter = an_adapter(tmp_path, "a", None)
    formats = formats_of(model_dir, tokenizer, AdapterMirror([adapter]))
    assert formats.of(adapter) is formats.of(None) is formats.base
    assert formats.is_known(adapter) and not formats.own


def test_what_cannot_be_read_is_tried_again(
    tmp_path: Path, model_dir: Path, tokenizer: Tokenizer
) -> None:
    adapter = an_adapter(tmp_path, "a", "{% for %}")
    formats = formats_of(model_dir, tokenizer, AdapterMirror([adapter]))
    for _ in range(2):
        with pytest.raises(AdapterError, match="template"):
            formats.of(adapter)
    (tmp_path / "a" / TEMPLATE_FILE).write_text("mine {{ messages }}")
    assert formats.of(adapter) is not formats.base


def test_another_generation_is_read_anew_and_what_is_gone_is_forgotten(
    tmp_path: Path, model_dir: Path, tokenizer: Tokenizer
) -> None:
    old = an_adapter(tmp_path, "a", "old {{ messages }}")
    new = replace(an_adapter(tmp_path, "b", "new {{ messages }}", generation=2), name="a")
    mirror = AdapterMirror([old])
    formats = formats_of(model_dir, tokenizer, mirror)
    first = formats.of(old)
    mirror.update([AdapterNews(new, Standing.CURRENT), AdapterNews(old, Standing.LEAVING)])
    assert formats.of(new) is not first
    assert formats.of(old) is first
    mirror.update([AdapterNews(old, Standing.GONE)])
    formats.read(new)
    assert not formats.is_known(old) and formats.is_known(new)


def test_no_more_are_kept_than_there_is_room_for(
    tmp_path: Path, model_dir: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats_module, "MAX_KEPT", 3)
    adapters = [an_adapter(tmp_path, f"a{n}", f"{n} {{{{ messages }}}}") for n in range(5)]
    formats = formats_of(model_dir, tokenizer, AdapterMirror(adapters))
    for adapter in adapters:
        formats.of(adapter)
    assert [formats.is_known(adapter) for adapter in adapters] == [False, False, True, True, True]
    assert formats._reader is not None and len(formats._reader._compiled) == 3
    assert formats.of(adapters[0]).template is not formats.base.template


def test_equal_templates_are_compiled_once(
    tmp_path: Path, model_dir: Path, tokenizer: Tokenizer
) -> None:
    adapters = [an_adapter(tmp_path, name, "same {{ messages }}") for name in "ab"]
    formats = formats_of(model_dir, tokenizer, AdapterMirror(adapters))
    assert formats.of(adapters[0]).template is formats.of(adapters[1]).template
