"""Which combinations the corpus is made of: pairs of what can meet, and every single thing."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tests.contract.pairwise import pairwise
from tests.corpus.adapter_files import is_made, refusal_of
from tests.corpus.adapter_kinds import LORA_KINDS
from tests.corpus.companions import COMPANIONS
from tests.corpus.models import ARCHITECTURES, DTYPES, Model, Weights
from tests.corpus.oddities import ODDITIES
from tests.corpus.other_methods import METHODS
from tests.corpus.ropes import ROPE_FORMS
from tests.corpus.storage import STORAGES
from tests.corpus.tokenizer_kinds import TOKENIZER_KINDS
from tests.corpus.wrappers import WRAPPERS


@dataclass(frozen=True, slots=True)
class Case:
    """A model directory, its tokenizer, and an adapter for it: keys of the tables."""

    model: Model
    tokenizer: str = "byte-level"
    adapter: str | None = None
    adapter_dtype: str = "f32"
    wrapper: str = "plain"
    companions: str = "alone"

    @property
    def name(self) -> str:
        parts = [self.model.name, self.tokenizer]
        if self.adapter is not None:
            parts += [self.adapter, self.adapter_dtype, self.wrapper, self.companions]
        return ".".join(parts)

    @property
    def refusals(self) -> tuple[str, ...]:
        """Words of which the error must have one; none where the case is served."""
        of_adapter = refusal_of(self.adapter, self.model.weights) if self.adapter else ""
        return self.model.refusals + ((of_adapter,) if of_adapter else ())


Table = dict[str, tuple[Any, ...]]

FAMILY = tuple(ARCHITECTURES)
TIED = (False, True)
REST: Table = {
    "family": FAMILY,
    "tied": TIED,
    "rope": ("default", "yarn"),
    "storage": ("one-file",),
    "oddity": ("plain",),
    "dtype": ("f32",),
    "adapter": (None, "query-value", "head"),
    "tokenizer": ("byte-level", "qwen-own-class", "llama2-own-class", "none"),
    "adapter_dtype": ("f32",),
    "wrapper": ("plain",),
    "companions": ("alone",),
}
"""What a sweep takes by chance where it does not say: little, so that much can be shared."""

SERVED = tuple(name for name, kind in LORA_KINDS.items() if not kind.refusal)
REFUSED = (*(name for name, kind in LORA_KINDS.items() if kind.refusal), *METHODS)

SWEEPS: tuple[Table, ...] = (
    {"rope": tuple(ROPE_FORMS), "family": ("llama", "qwen3")},
    {"storage": tuple(STORAGES), "family": FAMILY, "tied": TIED, "dtype": tuple(DTYPES)},
    {"oddity": tuple(ODDITIES), "family": ("llama", "qwen2"), "dtype": ("f32", "bf16")},
    # Of tokenizers the families are two kinds: each has its own class in transformers, or Llama's.
    {"tokenizer": tuple(TOKENIZER_KINDS), "family": ("llama", "qwen2")},
    {
        "adapter": SERVED,
        "tied": TIED,
        "dtype": ("f32", "bf16"),
        "adapter_dtype": ("f32", "bf16"),
    },
    {
        "adapter": ("all-linear", "dora-both-ends"),
        "adapter_dtype": tuple(DTYPES),
        "dtype": tuple(DTYPES),
    },
    {"adapter": REFUSED, "dtype": ("f32",)},
    {"wrapper": tuple(WRAPPERS), "adapter": ("all-linear", "dora", "dora-both-ends", "head")},
    {
        "companions": tuple(COMPANIONS),
        "adapter": ("query-value", "dora-attention"),
        "tokenizer": ("byte-level", "qwen-own-class", "llama2-own-class", "words"),
    },
)


def all_cases(seed: int = 0) -> list[Case]:
    """Every pair of values of each sweep, as far as they can meet; equal seeds, equal cases."""
    dice = random.Random(seed)
    drawn = (case for table in SWEEPS for case in _swept(table, dice))
    return list(dict.fromkeys(case for case in drawn if _can_be(case)))


def _swept(table: Table, dice: random.Random) -> Iterator[Case]:
    rest = {name: values for name, values in REST.items() if name not in table}
    for row in pairwise(table, seed=dice.randrange(2**32)):
        yield _case(row | {name: dice.choice(values) for name, values in rest.items()})


def _case(row: dict[str, Any]) -> Case:
    weights = Weights(row["family"], row["tied"], row["dtype"])
    model = Model(weights, row["rope"], row["storage"], row["oddity"])
    if row["adapter"] is None:
        return Case(model, row["tokenizer"])
    of_adapter = (row[name] for name in ("adapter", "adapter_dtype", "wrapper", "companions"))
    return _alone_in_refusal(Case(model, row["tokenizer"], *of_adapter))


def _alone_in_refusal(case: Case) -> Case:
    """With one thing to refuse at most: of several any may be named."""
    if len(case.refusals) < 2:
        return case
    if case.model.refusals:
        return replace(case, adapter="query-value")
    return replace(case, model=Model(case.model.weights))


def _can_be(case: Case) -> bool:
    weights = case.model.weights
    storage, kind = STORAGES[case.model.storage], TOKENIZER_KINDS[case.tokenizer]
    return (
        (weights.tied or not storage.needs_tied)
        and weights.family in ODDITIES[case.model.oddity].families
        and weights.family in kind.families
        and (case.adapter is None or is_made(case.adapter, weights))
        and (bool(kind.file) or not COMPANIONS[case.companions].has_files)
    )


CASES = all_cases()
