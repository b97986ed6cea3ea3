"""Every way in which a config.json spells its rotary embedding."""

from dataclasses import dataclass, field
from typing import Any

SHORT = 32  # what extended models call their original length; most prompts are longer
LONG = 128


@dataclass(frozen=True, slots=True)
class RopeForm:
    """Fields of config.json; whatever else says something of the embedding is left out."""

    fields: dict[str, Any] = field(default_factory=dict)
    refusal: str = ""
    """A word of the error, where the directory cannot be served."""


def _legacy(theta: float = 10000.0, **scaling: Any) -> dict[str, Any]:
    return {"rope_theta": theta, "rope_scaling": scaling or None}


def _unified(kind: str, theta: float = 10000.0, **scaling: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **scaling}}


LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": SHORT,
}
YARN = {"factor": 4.0, "original_max_position_embeddings": SHORT}
MSCALES = {"mscale": 0.7, "mscale_all_dim": 0.3}
OF_SHORT = {"max_position_embeddings": SHORT}
OF_LONG = {"max_position_embeddings": LONG}

ROPE_FORMS = {
    "default": RopeForm(_unified("default")),
    "default-theta": RopeForm(_unified("default", 500.0)),
    "legacy-theta": RopeForm({"rope_theta": 500.0}),
    "legacy-null": RopeForm(_legacy(1e6)),
    "unsaid": RopeForm(),
    "linear": RopeForm(_unified("linear", factor=4.0) | OF_LONG),
    "legacy-linear": RopeForm(_legacy(type="linear", factor=2.0) | OF_LONG),
    "dynamic": RopeForm(_unified("dynamic", factor=4.0) | OF_LONG),
    "legacy-dynamic": RopeForm(_legacy(type="dynamic", factor=2.0) | OF_LONG),
    "llama3": RopeForm(_unified("llama3", 500000.0, **LLAMA3) | OF_LONG),
    "legacy-llama3": RopeForm(_legacy(500000.0, rope_type="llama3", **LLAMA3) | OF_LONG),
    "yarn": RopeForm(_unified("yarn", **YARN) | OF_LONG),
    "yarn-mscales": RopeForm(_unified("yarn", **YARN, **MSCALES) | OF_LONG),
    "yarn-one-mscale": RopeForm(_unified("yarn", **YARN, mscale=0.7) | OF_LONG),
    "yarn-options": RopeForm(
        _unified("yarn", **YARN, beta_fast=8.0, beta_slow=2.0, truncate=False) | OF_LONG
    ),
    "yarn-attention": RopeForm(_unified("yarn", **YARN, attention_factor=1.3) | OF_LONG),
    # The recipe of the Qwen cards: what is longer than the field says is the point of it.
    "card-yarn": RopeForm(_legacy(1e6, type="yarn", **YARN) | OF_SHORT),
    "card-yarn-new": RopeForm(_unified("yarn", 1e6, **YARN) | OF_SHORT),
    "both-agree": RopeForm(_unified("default", 500.0) | {"rope_theta": 500.0}),
    "both-equal": RopeForm(
        _unified("linear", factor=2.0) | _legacy(type="linear", factor=2.0) | OF_LONG
    ),
    "thetas-disagree": RopeForm(_unified("default", 1e6) | {"rope_theta": 500.0}, "rope_theta"),
    "scaling-disagrees": RopeForm(
        _unified("default", 1e6) | {"rope_scaling": {"type": "linear", "factor": 2.0}},
        "rope_scaling",
    ),
    "longrope": RopeForm(
        _unified("longrope", short_factor=[1.0] * 8, long_factor=[2.0] * 8, factor=4.0)
        | {"original_max_position_embeddings": SHORT}
        | OF_LONG,
        "longrope",
    ),
}
"""Name -> form. The lengths are such that prompts reach what each of them changes."""
