"""What an adapter brings for its prompts is used, or it is said why not."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import normalizers
from transformers import TokenizersBackend

from motet.errors import AdapterError, ConfigError
from motet.file_names import TOKENIZER_CONFIG
from motet.server.text.format_config import FormatConfig
from motet.server.text.format_reader import FormatReader, FoundFormat
from motet.server.text.given_formats import NOTHING_GIVEN, GivenFormats
from motet.server.text.tokenizer import Tokenizer
from motet.tokenizer_config import TEMPLATE_FILE
from tests.model_factory import CHAT_TEMPLATE, VOCAB_SIZE, make_tokenizer
from tests.prompt_files import OWN_TEMPLATE, write_files

UNK, BOS, EOS = range(3)
MESSAGES: list[dict[str, object]] = [{"role": "user", "content": "a b"}]
LICENSE = str(Path(__file__).parents[2] / "LICENSE")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_tokenizer(tmp_path / "model", CHAT_TEMPLATE)


def a_reader(
    model: Path, given: GivenFormats = NOTHING_GIVEN, vocab_size: int = VOCAB_SIZE
) -> FormatReader:
    return FormatReader(str(model), Tokenizer.load(str(model)), (EOS,), vocab_size, given)


def read(model: Path, adapter: Path, **given: Any) -> FoundFormat:
    """Of an adapter that is served as `tuned`."""
    formats = GivenFormats.read(FormatConfig(**given), ["tuned"])
    return a_reader(model, formats).read("tuned", str(adapter))


def text_of(found: FoundFormat) -> str:
    assert found.format.template is not None
    return found.format.template.render(
        MESSAGES, add_generation_prompt=False, continue_final_message=False, kwargs={}
    )


def rewrite(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_an_adapter_without_files_has_the_format_of_the_base(model: Path, tmp_path: Path) -> None:
    reader = a_reader(model)
    found = reader.read("tuned", str(tmp_path / "adapter"))
    assert found == FoundFormat(reader.base, (), ())
    assert found.format is reader.base


def test_its_own_template_and_end_are_those_that_transformers_would_use(
    model: Path, tmp_path: Path
) -> None:
    adapter = Path(shutil.copytree(model, tmp_path / "adapter"))
    write_files(adapter, {TEMPLATE_FILE: OWN_TEMPLATE})
    rewrite(adapter / TOKENIZER_CONFIG, eos_token="<unk>")

    found = read(model, adapter)

    trained = TokenizersBackend.from_pretrained(adapter)
    assert text_of(found) == trained.apply_chat_template(MESSAGES, tokenize=False)
    assert text_of(found) == "<user>a b<unk>"
    assert found.format.eos_token_ids == (EOS, UNK)
    assert found.differences == (
        "template differs from the base's",
        "ends differ: adds '<unk>' (0)",
    )
    assert found.faults == ()


def test_a_template_alone_gets_the_roles_of_the_base(model: Path, tmp_path: Path) -> None:
    found = read(model, write_files(tmp_path / "adapter", {TEMPLATE_FILE: OWN_TEMPLATE}))
    assert text_of(found) == "<user>a b</s>"
    assert found.format.eos_token_ids == (EOS,)
    assert found.differences == ("template differs from the base's",)


def test_an_end_alone_leaves_the_template_of_the_base(model: Path, tmp_path: Path) -> None:
    files = {TOKENIZER_CONFIG: {"eos_token": "<unk>"}}
    found = read(model, write_files(tmp_path / "adapter", files))
    assert text_of(found) == "<s>[user] a b</s>"
    assert found.differences == ("ends differ: adds '<unk>' (0)",)


@pytest.mark.parametrize("form", ["the same files", "as JSON", "with other roles that it lacks"])
def test_a_copy_of_the_base_is_nothing_of_its_own(model: Path, tmp_path: Path, form: str) -> None:
    adapter = Path(shutil.copytree(model, tmp_path / "adapter"))
    if form == "as JSON":
        (adapter / TEMPLATE_FILE).unlink()
        rewrite(adapter / TOKENIZER_CONFIG, chat_template=CHAT_TEMPLATE.removesuffix("\n"))
    if form == "with other roles that it lacks":
        rewrite(adapter / TOKENIZER_CONFIG, pad_token="</s>", sep_token="<unk>")
    reader = a_reader(model)
    found = reader.read("tuned", str(adapter))
    assert found == FoundFormat(reader.base, (), ())


def test_a_copy_of_the_template_with_other_roles_is_its_own(model: Path, tmp_path: Path) -> None:
    adapter = Path(shutil.copytree(model, tmp_path / "adapter"))
    rewrite(adapter / TOKENIZER_CONFIG, bos_token="<unk>")
    assert text_of(read(model, adapter)) == "<unk>[user] a b</s>"


def test_equal_templates_are_compiled_once(model: Path, tmp_path: Path) -> None:
    reader = a_reader(model)
    first, second = (
        reader.read(name, str(write_files(tmp_path / name, {TEMPLATE_FILE: OWN_TEMPLATE})))
        for name in ("first", "second")
    )
    assert first.format.template is second.format.template


@pytest.mark.parametrize("vocab_size", [VOCAB_SIZE, 2])
def test_an_end_that_the_model_does_not_have_is_said(
    model: Path, tmp_path: Path, vocab_size: int
) -> None:
    end = "<end>" if vocab_size == VOCAB_SIZE else "</s>"
    adapter = write_files(tmp_path / "adapter", {TOKENIZER_CONFIG: {"eos_token": end}})
    found = a_reader(model, vocab_size=vocab_size).read("tuned", str(adapter))
    assert found.format.eos_token_ids == (EOS,)
    [fault] = found.faults
    assert fault.startswith(f"eos_token '{end}' is no token of the model, so it ends no answer")
    assert "--adapter-eos-token tuned=TOKEN" in fault


def test_a_role_that_the_template_writes_and_the_model_does_not_have_is_said(
    model: Path, tmp_path: Path
) -> None:
    files = {
        TEMPLATE_FILE: "{{ bos_token }}" + OWN_TEMPLATE,
        TOKENIZER_CONFIG: {"bos_token": "<begin>", "eos_token": "</s>", "pad_token": "<pad>"},
    }
    [fault] = read(model, write_files(tmp_path / "adapter", files)).faults
    assert fault.startswith("bos_token '<begin>', which its template writes, is no token")


def a_tokenizer(model: Path, adapter: Path) -> Backend:
    adapter.mkdir()
    return Backend.from_file(str(model / "tokenizer.json"))


def test_a_tokenizer_saved_with_other_lengths_is_the_same(model: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    tokenizer = a_tokenizer(model, adapter)
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=100)
    tokenizer.save(str(adapter / "tokenizer.json"))
    assert read(model, adapter).faults == ()


@pytest.mark.parametrize("is_padding", [False, True])
def test_tokens_that_were_added_are_said_but_for_padding(
    model: Path, tmp_path: Path, is_padding: bool
) -> None:
    adapter = tmp_path / "adapter"
    tokenizer = a_tokenizer(model, adapter)
    tokenizer.add_special_tokens(["<new>"])
    tokenizer.save(str(adapter / "tokenizer.json"))
    roles = {"pad_token": "<new>"} if is_padding else {}
    write_files(adapter, {TOKENIZER_CONFIG: {"eos_token": "</s>", **roles}})
    said = [
        f"tokenizer differs: '<new>' ({VOCAB_SIZE}) is no token of the model's, one of 1 such; "
        "prompts get the ids of the model's, with which the adapter was not trained"
    ]
    assert list(read(model, adapter).faults) == ([] if is_padding else said)


def test_tokens_with_other_ids_are_said(model: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    a_tokenizer(model, adapter)
    content = json.loads((model / "tokenizer.json").read_text())
    vocab = content["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
    write_files(adapter, {"tokenizer.json": content})
    [fault] = read(model, adapter).faults
    a, b = vocab["b"], vocab["a"]  # as the model has them
    assert fault.startswith(f"tokenizer differs: 'b' is {a} there and {b} in the model's; prompts")


def test_another_normalizer_is_said(model: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    tokenizer = a_tokenizer(model, adapter)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.save(str(adapter / "tokenizer.json"))
    [fault] = read(model, adapter).faults
    assert fault.startswith("tokenizer differs: 'The quick ")


def test_a_tokenizer_that_cannot_be_read_is_said(model: Path, tmp_path: Path) -> None:
    adapter = write_files(tmp_path / "adapter", {"tokenizer.json": "{"})
    [fault] = read(model, adapter).faults
    assert fault.startswith("tokenizer may differ: its tokenizer.json cannot be used (")
    assert "\n" not in fault


def test_a_pipe_in_place_of_a_tokenizer_is_not_waited_for(model: Path, tmp_path: Path) -> None:
    adapter = write_files(tmp_path / "adapter", {})
    adapter.mkdir()
    os.mkfifo(adapter / "tokenizer.json")
    assert read(model, adapter).faults == ()


def test_without_a_tokenizer_it_is_said_that_nothing_is_used(tmp_path: Path) -> None:
    files = {TEMPLATE_FILE: OWN_TEMPLATE, TOKENIZER_CONFIG: {"eos_token": "</s>"}}
    found = read(tmp_path / "model", write_files(tmp_path / "adapter", files))
    assert (found.format.template, found.format.eos_token_ids) == (None, (EOS,))
    assert [fault.partition(":")[0] for fault in found.faults] == [
        "template is not used",
        "eos_token '</s>' is not used, so it ends no answer",
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({TOKENIZER_CONFIG: "{"}, r"^adapter '.*': tokenizer_config.json is not valid JSON"),
        ({TEMPLATE_FILE: "{% if %}"}, r"cannot be compiled .*remove it to use the base model's"),
        ({TEMPLATE_FILE: "{% macro f(a, a) %}{% endmacro %}"}, "cannot be compiled .*duplicate"),
        ({TEMPLATE_FILE: "{{ f(a=1, a=2) }}"}, "cannot be compiled .*keyword argument repeated"),
        ({"additional_chat_templates/rag.jinja": "x"}, "have no 'default'"),
        ({TOKENIZER_CONFIG: '{"eos_token": "\\ud800"}'}, "as eos_token: give the text of a token"),
    ],
)
def test_files_that_cannot_be_used_are_refused(
    model: Path, tmp_path: Path, files: dict[str, str], message: str
) -> None:
    with pytest.raises(AdapterError, match=message):
        read(model, write_files(tmp_path / "adapter", files))


# what the operator gives


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """An adapter with a template and an end of its own."""
    files = {TEMPLATE_FILE: OWN_TEMPLATE, TOKENIZER_CONFIG: {"eos_token": "<unk>"}}
    return write_files(tmp_path / "own", files)


@pytest.fixture
def other(tmp_path: Path) -> str:
    """A template that neither the model nor the adapter has."""
    write_files(tmp_path, {"other.jinja": "{{ messages[0].content }}{{ eos_token }}"})
    return str(tmp_path / "other.jinja")


def test_a_template_for_the_base_is_that_of_adapters_without_their_own(
    model: Path, own: Path, other: str, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    assert text_of(read(model, tmp_path / "none", chat_template=other)) == "a b</s>"
    assert text_of(read(model, copy, chat_template=other)) == "a b</s>"
    assert text_of(read(model, own, chat_template=other)) == "<user>a b<unk>"


def test_an_end_for_the_base_is_one_for_all_and_beside_its_own(model: Path, own: Path) -> None:
    assert read(model, own / "none", eos_token=("5",)).format.eos_token_ids == (EOS, 5)
    assert read(model, own, eos_token=("<s>", "5")).format.eos_token_ids == (EOS, BOS, 5, UNK)


def test_a_template_for_an_adapter_has_its_roles(model: Path, own: Path, other: str) -> None:
    found = read(model, own, adapter_chat_template=(f"tuned={other}",))
    assert text_of(found) == "a b<unk>"
    assert found.differences[0] == "template differs from the base's"


def test_an_end_for_an_adapter_is_in_place_of_its_own(model: Path, own: Path) -> None:
    found = read(model, own, adapter_eos_token=("tuned=5", "tuned=<s>"))
    assert found.format.eos_token_ids == (EOS, 5, BOS)


def test_an_adapter_can_be_made_to_converse_as_the_base(model: Path, own: Path) -> None:
    given = FormatConfig(adapter_chat_template=("tuned=base",), adapter_eos_token=("tuned=base",))
    reader = a_reader(model, GivenFormats.read(given, ["tuned"]))
    assert reader.read("tuned", str(own)).format is reader.base


WRONG_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"adapter_eos_token": ("x",)}, "--adapter-eos-token is 'x': give it as NAME=TOKEN"),
    "no file": (
        {"adapter_chat_template": ("tuned=",)},
        "--adapter-chat-template is 'tuned=': give it as NAME=FILE or NAME=base",
    ),
    "no token": ({"eos_token": ("",)}, "--eos-token is ''"),
    "a slip": (
        {"adapter_eos_token": ("tunde=5",)},
        "--adapter-eos-token is for 'tunde', which is no adapter: did you mean 'tuned'",
    ),
    "nobody": (
        {"adapter_chat_template": ("x=base",)},
        "--adapter-chat-template is for 'x', which is no adapter: name one that is served",
    ),
    "two templates": (
        {"adapter_chat_template": ("tuned=base", "tuned=base")},
        "--adapter-chat-template is there twice for 'tuned': keep one",
    ),
    "an end and none": (
        {"adapter_eos_token": ("tuned=base", "tuned=5")},
        "--adapter-eos-token has 'tuned=base' and another end for 'tuned'",
    ),
    "a missing file": (
        {"chat_template": "no/such.jinja"},
        "--chat-template is 'no/such.jinja', which does not exist",
    ),
    "a directory": ({"chat_template": "/"}, "is no regular file"),
    "a missing file for an adapter": (
        {"adapter_chat_template": ("tuned=no/such",)},
        "--adapter-chat-template is 'no/such', which does not exist",
    ),
    "no template": ({"chat_template": LICENSE}, "which is no chat template"),
    "no such token": (
        {"eos_token": ("<end>",)},
        "--eos-token has '<end>', which is no token of the model: give the text of one as its "
        "tokenizer has it, or an id of 0 to 319",
    ),
    "no such id": ({"eos_token": ("320",)}, "--eos-token has '320', which is no token"),
    "a long id": ({"adapter_eos_token": ("tuned=" + "0" * 5000,)}, "which is no token"),
}


@pytest.mark.parametrize("case", WRONG_OPTIONS)
def test_what_cannot_be_given_is_refused(model: Path, own: Path, case: str) -> None:
    given, message = WRONG_OPTIONS[case]
    with pytest.raises(ConfigError) as error:
        read(model, own, **given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_jinja_is_refused(model: Path, own: Path, tmp_path: Path) -> None:
    write_files(tmp_path, {"broken.jinja": "{% if %}"})
    with pytest.raises(ConfigError, match=r"^--chat-template is '.*', which cannot be compiled"):
        read(model, own, chat_template=str(tmp_path / "broken.jinja"))


@pytest.mark.parametrize("option", ["chat_template", "adapter_chat_template"])
def test_a_template_without_a_tokenizer_is_refused(
    tmp_path: Path, own: Path, other: str, option: str
) -> None:
    value = other if option == "chat_template" else (f"tuned={other}",)
    with pytest.raises(ConfigError, match=r"has no tokenizer: add tokenizer\.json"):
        read(tmp_path / "model", own, **{option: value})


def test_without_a_tokenizer_an_end_may_be_an_id(tmp_path: Path, own: Path) -> None:
    found = read(tmp_path / "model", own, adapter_eos_token=("tuned=7",))
    assert found.format.eos_token_ids == (EOS, 7)
    assert found.differences == ("ends differ: adds 7",)
