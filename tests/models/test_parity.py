"""Every model family gives the logits of transformers, however its tokens are cut into steps."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from motet.engine.models import MODELS, load_model, read_config
from tests.model_factory import MAKERS, VOCAB_SIZE, make_tokenizer
from tests.models.stepping import Stepper, Take, Track

LENGTHS = (37, 1, 22)

ROPE = {"rope_theta": 10000.0}

COMMON: dict[str, dict[str, Any]] = {
    "typical": {},
    "as many KV heads as heads": {"num_key_value_heads": 4},
    "one KV head": {"num_key_value_heads": 1},
    "tied embeddings": {"tie_word_embeddings": True},
    "own head_dim": {"head_dim": 24},
    "other theta and epsilon": {"rope_parameters": {"rope_theta": 500.0}, "rms_norm_eps": 1e-2},
    "rope linear": {"rope_parameters": ROPE | {"rope_type": "linear", "factor": 4.0}},
    "rope dynamic": {"rope_parameters": ROPE | {"rope_type": "dynamic", "factor": 4.0}},
    "rope llama3": {
        "rope_parameters": ROPE
        | {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        }
    },
    "rope yarn": {
        "rope_parameters": ROPE
        | {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    },
    "rope yarn with all its options": {
        "rope_parameters": ROPE
        | {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 64,
            "beta_fast": 8.0,
            "beta_slow": 2.0,
            "mscale": 0.7,
            "mscale_all_dim": 0.3,
            "truncate": False,
        }
    },
}
"""Changes of a typical config that all families take."""

ALL_LAYERS = {"use_sliding_window": True, "max_window_layers": 0}
LAYER_TYPES = {"layer_types": ["sliding_attention", "full_attention"]}
QWEN_WINDOWS: dict[str, dict[str, Any]] = {
    "no window": {"use_sliding_window": False},
    "no window in use": {"max_window_layers": 2},
    "windows in all layers": ALL_LAYERS | {"sliding_window": 16},
    "windows of one position": ALL_LAYERS | {"sliding_window": 1},
    "window wider than the sequence": ALL_LAYERS | {"sliding_window": 40},
    "window wider than the model": ALL_LAYERS | {"sliding_window": 10**6},
    "layers of their own types": LAYER_TYPES | {"max_window_layers": 2},
}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "LlamaForCausalLM": {"biases": {"attention_bias": True, "mlp_bias": True}},
    "MistralForCausalLM": {
        "no window": {"sliding_window": None},
        "windows of one position": {"sliding_window": 1},
        "window wider than the sequence": {"sliding_window": 40},
    },
    "Qwen2ForCausalLM": QWEN_WINDOWS,
    "Qwen3ForCausalLM": QWEN_WINDOWS
    | {"biases": {"attention_bias": True}, "head_dim of other families": {"head_dim": 16}},
}
"""Changes that one family alone takes, or takes in its own way."""

CASES = [(name, variant) for name in MODELS for variant in COMMON | VARIANTS[name]]

SHORT = 16
"""Positions of a model that was trained for fewer than the sequences of the tests have."""

BEYOND: dict[str, dict[str, Any]] = {
    "default": {},
    "linear": {"rope_parameters": ROPE | {"rope_type": "linear", "factor": 4.0}},
    "llama3": {
        "rope_parameters": ROPE
        | {
            "rope_type": "llama3",
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 4,
        }
    },
    "yarn": {
        "rope_parameters": ROPE
        | {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": SHORT}
    },
    "window wider than the trained length": {"sliding_window": SHORT + 4, "max_window_layers": 0},
}

Schedule = list[list[Take]]


def whole(lengths: Sequence[int]) -> Schedule:
    return [list(enumerate(lengths))]


def chunked(lengths: Sequence[int], chunk: int = 5) -> Schedule:
    """All sequences side by side, `chunk` tokens of each per step."""
    steps = range(0, max(lengths), chunk)
    return [
        [(i, min(chunk, length - start)) for i, length in enumerate(lengths) if start < length]
        for start in steps
    ]


def token_by_token(lengths: Sequence[int]) -> Schedule:
    return chunked(lengths, chunk=1)


def joining_one_by_one(lengths: Sequence[int]) -> Schedule:
    """Each sequence is prefilled but for 8 tokens while the earlier ones decode."""
    prefills = [max(length - 8, 1) for length in lengths]
    steps: Schedule = []
    left: dict[int, int] = {}
    for i, length in enumerate(lengths):
        steps.append([(j, 1) for j in left if left[j]] + [(i, prefills[i])])
        left = {j: max(n - 1, 0) for j, n in left.items()} | {i: length - prefills[i]}
    while any(left.values()):
        steps.append([(j, 1) for j in left if left[j]])
        left = {j: max(n - 1, 0) for j, n in left.items()}
    return steps


SCHEDULES = (whole, chunked, token_by_token, joining_one_by_one)


def some_tracks(seed: int = 0) -> list[Track]:
    dice = random.Random(seed)
    return [Track(dice.choices(range(VOCAB_SIZE), k=length)) for length in LENGTHS]


def a_stepper(
    path: Path, dtype: torch.dtype = torch.float32, max_model_len: int | None = None
) -> Stepper:
    spec = read_config(str(path))
    num_positions = max_model_len or spec.max_positions
    model = load_model(spec, dtype, torch.device("cpu"), num_positions, lambda *_: None)
    return Stepper(model, spec, dtype)


def reference_logits(
    path: Path, tracks: Sequence[Track], dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    with torch.no_grad():
        return [model(torch.tensor([track.tokens])).logits[0].float() for track in tracks]


def assert_equal_logits(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_every_family_has_a_maker() -> None:
    assert MAKERS.keys() == MODELS.keys()


@pytest.mark.parametrize(("architecture", "variant"), CASES)
def test_logits_equal_transformers(tmp_path: Path, architecture: str, variant: str) -> None:
    path = MAKERS[architecture](tmp_path, **(COMMON | VARIANTS[architecture])[variant])
    expected = reference_logits(path, some_tracks())
    for schedule in (whole, joining_one_by_one):
        actual = a_stepper(path).run(some_tracks(), schedule(LENGTHS))
        assert_equal_logits(actual, expected)


@pytest.mark.parametrize("variant", BEYOND)
@pytest.mark.parametrize("architecture", MODELS)
def test_logits_beyond_the_trained_length_equal_transformers(
    tmp_path: Path, architecture: str, variant: str
) -> None:
    path = MAKERS[architecture](tmp_path, **{"max_position_embeddings": SHORT} | BEYOND[variant])
    has_room = read_config(str(path)).max_positions > max(LENGTHS)
    assert has_room == (variant in ("linear", "yarn"))
    stepper = a_stepper(path, max_model_len=None if has_room else max(LENGTHS))
    actual = stepper.run(some_tracks(), joining_one_by_one(LENGTHS))
    assert_equal_logits(actual, reference_logits(path, some_tracks()))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("architecture", MODELS)
def test_logits_do_not_depend_on_how_tokens_are_cut_into_steps(
    tmp_path: Path, architecture: str, schedule: Callable[[Sequence[int]], Schedule]
) -> None:
    path = MAKERS[architecture](tmp_path)
    actual = a_stepper(path).run(some_tracks(), schedule(LENGTHS))
    assert_equal_logits(actual, reference_logits(path, some_tracks()))


@pytest.mark.parametrize("is_tied", [False, True], ids=["head", "tied"])
@pytest.mark.parametrize("architecture", MODELS)
def test_padding_of_the_vocabulary_has_no_logits(
    tmp_path: Path, architecture: str, is_tied: bool
) -> None:
    config = {"vocab_size": 384, "tie_word_embeddings": is_tied}
    path = make_tokenizer(MAKERS[architecture](tmp_path, **config))
    (expected, *_) = reference_logits(path, some_tracks())
    (actual,) = a_stepper(path).run(some_tracks()[:1], whole(LENGTHS[:1]))
    num_tokens = Tokenizer.from_file(str(path / "tokenizer.json")).get_vocab_size()
    assert num_tokens == actual.shape[1] < 384
    assert_equal_logits([actual], [expected[:, :num_tokens]])


@pytest.mark.parametrize("architecture", MODELS)
def test_logits_exist_for_sampled_tokens_only(tmp_path: Path, architecture: str) -> None:
    stepper = a_stepper(MAKERS[architecture](tmp_path))
    inputs = stepper.prepare(some_tracks(), whole(LENGTHS)[0])
    picked = torch.tensor([37, 5])
    some = stepper.forward(replace(inputs, sample_index=picked))
    torch.testing.assert_close(some, stepper.forward(inputs)[picked])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("architecture", MODELS)
def test_half_precision_stays_close(tmp_path: Path, architecture: str, dtype: torch.dtype) -> None:
    path = MAKERS[architecture](tmp_path, dtype=dtype)
    tracks = some_tracks()
    exact = torch.cat(reference_logits(path, tracks))
    theirs = torch.cat(reference_logits(path, tracks, dtype))
    ours = torch.cat(a_stepper(path, dtype).run(tracks, joining_one_by_one(LENGTHS)))
    assert ours.dtype == torch.float32
    assert (ours - exact).std() < 1.2 * (theirs - exact).std()
