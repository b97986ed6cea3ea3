"""Adapter directories that nobody can serve: what has happened to each, and what must be said."""

import io
import math
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, rmtree

import torch

from motet.file_names import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from tests.corpus.spoiling import (
    Accident,
    added,
    all_of,
    beside,
    config_is,
    cut,
    fields,
    header,
    lengthened,
    many_tensors,
    missing,
    other_rank,
    renamed,
    replaced,
    safetensors,
    tensor,
    tensor_entry,
    tensors,
    weights_are,
    with_number,
    without,
)

MAX_RANK = 16
"""Of the server that refuses them."""

RANK = 8
"""Of the good adapter that each of them was: q_proj and v_proj of two layers, 64 wide."""

_LAYERS = "base_model.model.model.layers"
Q_A = f"{_LAYERS}.0.self_attn.q_proj.lora_A.weight"
Q_B = f"{_LAYERS}.0.self_attn.q_proj.lora_B.weight"
V_A = f"{_LAYERS}.1.self_attn.v_proj.lora_A.weight"
V_B = f"{_LAYERS}.1.self_attn.v_proj.lora_B.weight"

INCOMPLETE = f"{ADAPTER_WEIGHTS} is not a complete safetensors file"
NOT_JSON = f"{ADAPTER_CONFIG} is not valid JSON"
IRREGULAR = "is no regular file"


@dataclass(frozen=True, slots=True)
class Corruption:
    """Of one adapter directory."""

    accident: Accident
    reason: str
    """Words of the error that a client gets, in one piece."""
    status: int = 400
    is_adapter: bool = True
    """Named in an --adapter-dir, it is one that cannot be served, and not an unknown name."""


def _another(name: str, part: str, other: str) -> Accident:
    """A tensor under another name."""
    return tensors(
        lambda found: {
            key.replace(part, other) if key == name else key: found[key] for key in found
        }
    )


def _zip(name: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, bytes(1000))
    return content.getvalue()


def _set(name: str, value: object, reason: str | None = None) -> Corruption:
    """One field of the configuration, which the error names."""
    return Corruption(fields(**{name: value}), reason or f"{name} in {ADAPTER_CONFIG} is")


CONFIG_FILES = {
    "config missing": Corruption(missing(ADAPTER_CONFIG), f"{ADAPTER_CONFIG} is missing"),
    "config empty": Corruption(config_is(""), NOT_JSON),
    "config cut off": Corruption(cut(ADAPTER_CONFIG, lambda size: size // 2), NOT_JSON),
    "config not JSON": Corruption(config_is("r: 8\nlora_alpha: 16\n"), NOT_JSON),
    "config not text": Corruption(config_is(b"\xff\xfe\x00\x80" * 20), NOT_JSON),
    "config of a pickle": Corruption(config_is(pickle.dumps({"r": 8})), NOT_JSON),
    "config a list": Corruption(config_is('["peft_type"]'), "not an object"),
    "config a number": Corruption(config_is("8"), "not an object"),
    "config null": Corruption(config_is("null"), "not an object"),
    "config of an error page": Corruption(config_is("<html>404 Not Found</html>"), NOT_JSON),
    "config as deep as a bomb": Corruption(config_is("[" * 200_000), NOT_JSON),
    "config deep and closed": Corruption(
        config_is('{"r":' + "[" * 100_000 + "]" * 100_000 + "}"), NOT_JSON
    ),
    "config as full as can be": Corruption(
        config_is('{"peft_type":"LORA","r":[' + "1," * (8 * 2**20 - 20) + "1]}"),
        "r in adapter_config.json is [1, 1,",
    ),
    "config without end": Corruption(config_is(" " * (17 * 2**20)), f"{ADAPTER_CONFIG} is larger"),
    "config of another model": Corruption(
        all_of(missing(ADAPTER_CONFIG), beside("config.json", "{}")), "it is a model"
    ),
    "config one level too deep": Corruption(
        all_of(
            lambda adapter: copytree(adapter, adapter / "checkpoint-5"), missing(ADAPTER_CONFIG)
        ),
        "did you mean",
    ),
}
"""Its adapter_config.json is none."""

CONFIG_FIELDS = {
    "config without fields": Corruption(config_is("{}"), "peft_type is None"),
    "method other": _set("peft_type", "IA3", "peft_type is 'IA3'"),
    "method null": _set("peft_type", None, "peft_type is None"),
    "method a list": _set("peft_type", ["LORA"], "peft_type is ['LORA']"),
    "r zero": _set("r", 0),
    "r negative": _set("r", -8),
    "r huge": _set("r", 10**30, "has rank 8, its configuration says 1000000"),
    "r of a thousand digits": Corruption(config_is('{"r":1' + "0" * 5000 + "}"), NOT_JSON),
    "r text": _set("r", "8"),
    "r true": _set("r", True),
    "r a fraction": _set("r", 8.5),
    "r not a number": _set("r", math.nan),
    "r a list": _set("r", [8]),
    "r of other weights": _set("r", RANK // 2, f"has rank {RANK}, its configuration says"),
    "r above the limit": Corruption(other_rank(MAX_RANK + 1), f"--max-lora-rank {MAX_RANK}"),
    "alpha not a number": _set("lora_alpha", math.nan),
    "alpha infinite": _set("lora_alpha", -math.inf),
    "alpha huge": _set("lora_alpha", 1e300),
    "alpha text": _set("lora_alpha", "sixteen"),
    "alpha an object": _set("lora_alpha", {"value": 16}),
    "rslora text": _set("use_rslora", "yes"),
    "dora text": _set("use_dora", "false"),
    "dora without magnitudes": _set("use_dora", True, "use_dora is true"),
    "rank pattern a list": _set("rank_pattern", ["q_proj"]),
    "rank pattern zero": _set("rank_pattern", {"q_proj": 0}),
    "rank pattern other": _set("rank_pattern", {"q_proj": 3}, "its configuration says 3"),
    "rank pattern no expression": _set("rank_pattern", {"(q": 8}, "no regular expression"),
    "rank pattern long": _set("rank_pattern", {"q" * 600: 8}, "longer than 512 characters"),
    "rank pattern of thousands": _set("rank_pattern", {f"q{n}": 8 for n in range(5000)}),
    "alpha pattern infinite": _set("alpha_pattern", {"q_proj": math.inf}),
    "saved layers a name": _set("modules_to_save", "lm_head"),
    "saved layers numbers": _set("modules_to_save", [1, 2]),
    "saved layers not there": _set("modules_to_save", ["lm_head"], "no 'lm_head.weight'"),
    "start changed the base": _set("init_lora_weights", "pissa", "init_lora_weights is 'pissa'"),
    "start unknown": _set("init_lora_weights", "new", "init_lora_weights is 'new'"),
    "start an object": _set("init_lora_weights", {"a": 1}, "init_lora_weights is {'a': 1}"),
    "biases": _set("lora_bias", True, "lora_bias is set to True"),
    "layers replicated": _set("layer_replication", [[0, 2]], "layer_replication is set to"),
    "tokens trained": _set("trainable_token_indices", [5], "trainable_token_indices is set to"),
    "parameters trained": _set("target_parameters", ["w"], "target_parameters is set to"),
    "activated": _set("alora_invocation_tokens", [5], "alora_invocation_tokens is set to"),
    "Megatron": _set("megatron_config", {"tp": 2}, "megatron_config is set to"),
}
"""Its adapter_config.json says what cannot be."""

WEIGHT_FILES = {
    "weights missing": Corruption(missing(ADAPTER_WEIGHTS), f"{ADAPTER_WEIGHTS} is missing"),
    "weights empty": Corruption(weights_are(b""), INCOMPLETE),
    "weights cut in the length": Corruption(cut(ADAPTER_WEIGHTS, lambda size: 5), INCOMPLETE),
    "weights cut after the length": Corruption(cut(ADAPTER_WEIGHTS, lambda size: 8), INCOMPLETE),
    "weights cut in the header": Corruption(cut(ADAPTER_WEIGHTS, lambda size: 100), INCOMPLETE),
    "weights cut in the values": Corruption(
        cut(ADAPTER_WEIGHTS, lambda size: size // 2), INCOMPLETE
    ),
    "weights cut by a byte": Corruption(cut(ADAPTER_WEIGHTS, lambda size: size - 1), INCOMPLETE),
    "weights too long": Corruption(lengthened(ADAPTER_WEIGHTS, 10**6), INCOMPLETE),
    "weights of zeros": Corruption(weights_are(bytes(5000)), INCOMPLETE),
    "weights of noise": Corruption(weights_are(b"\x80" * 999), INCOMPLETE),
    "weights of an error page": Corruption(weights_are(b"<html>404 Not Found</html>"), INCOMPLETE),
    "weights of a file elsewhere": Corruption(
        weights_are(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), INCOMPLETE
    ),
    "weights a pickle": Corruption(weights_are(pickle.dumps({"a": 1})), INCOMPLETE),
    "weights a pickle by name": Corruption(
        renamed(ADAPTER_WEIGHTS, "adapter_model.bin"), "is a pickle and never loaded"
    ),
    "weights a zip": Corruption(weights_are(_zip(ADAPTER_WEIGHTS)), INCOMPLETE),
    "header length absurd": Corruption(weights_are(b"\xff" * 8 + b"{}"), "its header would have"),
    "header longer than the file": Corruption(
        weights_are(safetensors("{}", length=2000)), INCOMPLETE
    ),
    "header of 100 MB": Corruption(
        all_of(
            weights_are(safetensors("{}", length=10**8)), lengthened(ADAPTER_WEIGHTS, 10**8 + 8)
        ),
        "its header would have 100000000 bytes",
    ),
    "header empty": Corruption(weights_are(safetensors("")), INCOMPLETE),
    "header not JSON": Corruption(weights_are(safetensors("tensors: none")), INCOMPLETE),
    "header not text": Corruption(weights_are(safetensors(b"{\xff\xfe}")), INCOMPLETE),
    "header a list": Corruption(weights_are(safetensors("[]")), INCOMPLETE),
    "header deep": Corruption(weights_are(safetensors('{"a":' + "[" * 99_999)), INCOMPLETE),
    "header without tensors": Corruption(weights_are(safetensors("{}")), "holds no tensors"),
    "header of eight thousand tensors": Corruption(
        weights_are(many_tensors(8_000)), "'t0' is no LoRA matrix"
    ),
    "header of ten thousand tensors": Corruption(
        weights_are(many_tensors(10_000)), "has 10000 tensors, more than 8192"
    ),
    "header as full as can be": Corruption(
        weights_are(many_tensors(62_000)), "has 62000 tensors, more than 8192"
    ),
    "header beyond that": Corruption(weights_are(many_tensors(70_000)), "its header would have"),
    "header half an entry": Corruption(
        header(lambda entries: entries | {Q_A: {"dtype": "F32"}}), INCOMPLETE
    ),
    "header notes a number": Corruption(
        header(lambda entries: entries | {"__metadata__": {"format": 5}}), INCOMPLETE
    ),
}
"""Its adapter_model.safetensors is none."""

HEADER_ENTRIES = {
    "dtype unknown": Corruption(tensor_entry(Q_A, dtype="F31"), "unknown variant `F31`"),
    "dtype a number": Corruption(tensor_entry(Q_A, dtype=32), INCOMPLETE),
    "dtype of another size": Corruption(tensor_entry(Q_A, dtype="F64"), INCOMPLETE),
    "offsets overlap": Corruption(tensor_entry(Q_A, data_offsets=[4, 2052]), INCOMPLETE),
    "offsets alike": Corruption(
        header(lambda entries: entries | {V_B: entries[V_B] | {"data_offsets": [0, 1024]}}),
        INCOMPLETE,
    ),
    "offsets backwards": Corruption(tensor_entry(Q_A, data_offsets=[2048, 0]), INCOMPLETE),
    "offsets negative": Corruption(tensor_entry(Q_A, data_offsets=[-4, 2044]), INCOMPLETE),
    "offsets beyond the file": Corruption(
        tensor_entry(Q_A, data_offsets=[2**40, 2**40 + 2048]), INCOMPLETE
    ),
    "offsets beyond any file": Corruption(
        tensor_entry(Q_A, data_offsets=[2**64 - 16, 2**64]), INCOMPLETE
    ),
    "shape negative": Corruption(tensor_entry(Q_A, shape=[-8, -64]), INCOMPLETE),
    "shape beyond all numbers": Corruption(tensor_entry(Q_A, shape=[2**62, 2**62]), INCOMPLETE),
    "shape larger than its values": Corruption(tensor_entry(Q_A, shape=[8, 65]), INCOMPLETE),
    "shape text": Corruption(tensor_entry(Q_A, shape="8,64"), INCOMPLETE),
    "shape of a hundred thousand sides": Corruption(
        tensor_entry(Q_A, shape=[8, 64, *[1] * 100_000]), "a LoRA matrix has two sides"
    ),
    "one name twice": Corruption(
        weights_are(
            safetensors(
                f'{{"{Q_A}":{{"dtype":"F32","shape":[4],"data_offsets":[0,16]}},'
                f'"{Q_A}":{{"dtype":"F32","shape":[4],"data_offsets":[16,32]}}}}',
                bytes(32),
            )
        ),
        INCOMPLETE,
    ),
    "notes twice": Corruption(
        weights_are(safetensors('{"__metadata__":{},"__metadata__":{}}')), "duplicate field"
    ),
}
"""The header of its weights says what cannot be."""

TENSORS = {
    "A missing": Corruption(without(Q_A), "has no lora_A beside it"),
    "B missing": Corruption(without(V_B), "has no lora_B beside it"),
    "no number in A": Corruption(tensor(Q_A, with_number(math.nan)), f"'{Q_A}' holds NaN"),
    "no number at the end of B": Corruption(
        tensor(V_B, with_number(math.nan, -1)), f"'{V_B}' holds NaN"
    ),
    "infinity in B": Corruption(tensor(Q_B, with_number(math.inf)), f"'{Q_B}' holds NaN"),
    "minus infinity in bfloat16": Corruption(
        tensor(V_A, lambda a: with_number(-math.inf, 9)(a).bfloat16()), f"'{V_A}' holds NaN"
    ),
    "integers": Corruption(tensor(Q_A, torch.Tensor.int), "stored as int32"),
    "bytes": Corruption(tensor(Q_A, lambda a: a.to(torch.int8)), "stored as int8"),
    "doubles": Corruption(tensor(Q_B, torch.Tensor.double), "stored as float64"),
    "truth values": Corruption(tensor(V_A, torch.Tensor.bool), "stored as bool"),
    "quarter precision": Corruption(
        tensor(V_A, lambda a: a.to(torch.float8_e4m3fn)), "stored as float8_e4m3fn"
    ),
    "A too wide": Corruption(tensor(Q_A, lambda a: torch.ones(RANK, 65)), "has shape [8, 65]"),
    "A too narrow": Corruption(tensor(Q_A, lambda a: a[:, :-1]), "has shape [8, 63]"),
    "A transposed": Corruption(tensor(Q_A, torch.Tensor.t), "has rank 64"),
    "B too tall": Corruption(tensor(V_B, lambda b: torch.ones(33, RANK)), "has shape [33, 8]"),
    "B too low": Corruption(tensor(V_B, lambda b: b[:-1]), "has shape [31, 8]"),
    "B transposed": Corruption(tensor(Q_B, torch.Tensor.t), "has shape [8, 64]"),
    "B of another rank": Corruption(tensor(Q_B, lambda b: b[:, :4]), "has shape [64, 4]"),
    "ranks differ": Corruption(tensor(Q_A, lambda a: a[:4]), "has rank 4"),
    "A and B of another base": Corruption(
        tensors(lambda found: {name: _wider(name, it) for name, it in found.items()}),
        "the served model needs",
    ),
    "A in one row": Corruption(tensor(Q_A, torch.Tensor.flatten), "has shape [512]"),
    "A with five sides": Corruption(
        tensor(Q_A, lambda a: a.reshape(2, 2, 2, 8, 8)),
        "has shape [2, 2, 2, 8, 8], a LoRA matrix has two sides",
    ),
    "A a single number": Corruption(tensor(Q_A, lambda a: a[0, 0].clone()), "has shape []"),
    "A without values": Corruption(tensor(Q_A, lambda a: a[:0]), "has shape [0, 64]"),
    "all without values": Corruption(
        tensors(lambda found: dict.fromkeys(found, torch.zeros(0))), "has shape [0]"
    ),
    "module unknown": Corruption(_another(Q_A, "q_proj", "qkv_proj"), "qkv_proj"),
    "module of another part": Corruption(
        _another(Q_A, "base_model.model.", "base_model.model.vision_tower."), "vision_tower."
    ),
    "head of a larger vocabulary": Corruption(
        added(
            **{
                "base_model.model.lm_head.lora_A.weight": torch.ones(RANK, 64),
                "base_model.model.lm_head.lora_B.weight": torch.ones(999, RANK),
            }
        ),
        "has shape [999, 8]",
    ),
    "layer beyond the model": Corruption(_another(V_A, "layers.1.", "layers.2."), "for layer 2"),
    "layer far beyond": Corruption(_another(V_A, "layers.1.", f"layers.{10**30}."), "for layer 1"),
    "layer negative": Corruption(_another(V_A, "layers.1.", "layers.-1."), "layers.-1."),
    "two for one place": Corruption(
        added(**{Q_A.replace(".weight", ".other.weight"): torch.ones(RANK, 64)}),
        "fill the same place",
    ),
    "magnitude without DoRA": Corruption(
        added(**{Q_A.replace("A.weight", "magnitude_vector"): torch.ones(64)}),
        "use_dora is false",
    ),
    "bias of B": Corruption(
        added(**{Q_B.replace("weight", "bias"): torch.ones(64)}), "biases of B are not served"
    ),
    "trained norm": Corruption(
        added(**{"base_model.model.model.norm.weight": torch.zeros(64)}), "norm.weight"
    ),
    "embedding as a linear layer": Corruption(
        added(**{"base_model.model.model.embed_tokens.lora_A.weight": torch.ones(RANK, 320)}),
        "embed_tokens.lora_A.weight' is that of a linear layer",
    ),
    "name with lines": Corruption(added(**{"a\nERROR b\r": torch.ones(1)}), r"'a\nERROR b\r'"),
    "name with nothing": Corruption(added(**{"": torch.ones(1)}), "tensor '' is no LoRA matrix"),
    "name with a NUL": Corruption(added(**{"a\0b": torch.ones(1)}), r"'a\x00b'"),
    "name from right to left": Corruption(added(**{"a\u202eb": torch.ones(1)}), r"'a\u202eb'"),
    "name in many signs": Corruption(added(**{"名前.🎼": torch.ones(1)}), "'名前.🎼'"),
    "name like a path": Corruption(
        added(**{"../../etc/passwd": torch.ones(1)}), "'../../etc/passwd' is no LoRA matrix"
    ),
    "name without end": Corruption(added(**{"n" * 100_000: torch.ones(1)}), "is no LoRA matrix"),
}
"""Its weights are whole, and not those of an adapter for this model."""

COMPANIONS = {
    "template no template": Corruption(beside("chat_template.jinja", "{% for %}"), "template"),
    "template a directory": Corruption(
        lambda adapter: (adapter / "chat_template.jinja").mkdir(), IRREGULAR
    ),
    "tokens not JSON": Corruption(beside("tokenizer_config.json", "{"), "not valid JSON"),
    "tokens a list": Corruption(beside("tokenizer_config.json", "[]"), "not an object"),
    "tokens a pipe": Corruption(
        lambda adapter: os.mkfifo(adapter / "tokenizer_config.json"), IRREGULAR
    ),
}
"""What it brings for prompts cannot be used."""

PLACES = {
    "config a directory": Corruption(replaced(ADAPTER_CONFIG, Path.mkdir), IRREGULAR),
    "config a pipe": Corruption(replaced(ADAPTER_CONFIG, os.mkfifo), IRREGULAR),
    "weights a directory": Corruption(replaced(ADAPTER_WEIGHTS, Path.mkdir), IRREGULAR),
    "weights a pipe": Corruption(replaced(ADAPTER_WEIGHTS, os.mkfifo), IRREGULAR),
    "weights a link in a circle": Corruption(
        replaced(ADAPTER_WEIGHTS, lambda path: path.symlink_to(path.name)), "cannot be read"
    ),
    "weights a link to nothing": Corruption(
        replaced(ADAPTER_WEIGHTS, lambda path: path.symlink_to("elsewhere")),
        f"{ADAPTER_WEIGHTS} is missing",
    ),
    "directory empty": Corruption(
        all_of(missing(ADAPTER_CONFIG), missing(ADAPTER_WEIGHTS)),
        f"{ADAPTER_CONFIG} is missing",
        is_adapter=False,
    ),
    "directory gone": Corruption(rmtree, "there is no directory", 404, is_adapter=False),
    "directory a file": Corruption(
        all_of(rmtree, lambda adapter: adapter.write_text("{}")),
        "there is no directory",
        404,
        is_adapter=False,
    ),
    "weights a link that leads out": Corruption(
        replaced(ADAPTER_WEIGHTS, lambda path: path.symlink_to("/dev/zero")),
        "leads out of",
        403,
        is_adapter=False,
    ),
    "config a link that leads out": Corruption(
        replaced(ADAPTER_CONFIG, lambda path: path.symlink_to("/etc/hostname")),
        "leads out of",
        403,
        is_adapter=False,
    ),
    "a link beside that leads out": Corruption(
        lambda adapter: (adapter / "notes.md").symlink_to("/etc/hostname"),
        "leads out of",
        403,
        is_adapter=False,
    ),
    "directory a link that leads out": Corruption(
        all_of(rmtree, lambda adapter: adapter.symlink_to("/etc")),
        "which is not where this server takes adapters",
        403,
        is_adapter=False,
    ),
}
"""Its files are none, or not its own."""

FORBIDDEN = {
    "config may not be read": Corruption(
        lambda adapter: (adapter / ADAPTER_CONFIG).chmod(0), "cannot be read (Permission denied)"
    ),
    "weights may not be read": Corruption(
        lambda adapter: (adapter / ADAPTER_WEIGHTS).chmod(0), "cannot be read (Permission denied)"
    ),
}
"""For everybody but root, who may read all."""

CORRUPTIONS: Mapping[str, Corruption] = {
    **CONFIG_FILES,
    **CONFIG_FIELDS,
    **WEIGHT_FILES,
    **HEADER_ENTRIES,
    **TENSORS,
    **COMPANIONS,
    **PLACES,
    **({} if os.geteuid() == 0 else FORBIDDEN),
}
"""Name -> what has happened to a good adapter."""


def corrupt_adapters(good: Path, directory: Path) -> dict[str, Path]:
    """All of them in `directory`, made of the good adapter."""
    made = {}
    for name, corruption in CORRUPTIONS.items():
        made[name] = copytree(good, directory / name.replace(" ", "-"))
        corruption.accident(made[name])
    return made


def _wider(name: str, values: torch.Tensor) -> torch.Tensor:
    """As if the model had twice as many of everything."""
    return torch.cat([values, values], dim=1 if "lora_A" in name else 0)
