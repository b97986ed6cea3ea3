"""Real directories of every kind: motet says what the real libraries say, or says why not."""

from collections import Counter
from collections.abc import Collection

import pytest
import torch

from motet import LLM
from motet.engine.config import EngineConfig
from motet.engine.start.blueprint import blueprint_of
from motet.errors import ConfigError
from tests.corpus.adapter_files import ADAPTERS
from tests.corpus.cases import CASES, Case
from tests.corpus.checks import (
    TUNED,
    check_chat,
    check_ends,
    check_texts,
    check_tokens,
)
from tests.corpus.companions import COMPANIONS
from tests.corpus.directories import Directories, Shelf
from tests.corpus.models import DTYPES, Model, Weights
from tests.corpus.oddities import ODDITIES
from tests.corpus.ropes import ROPE_FORMS
from tests.corpus.storage import STORAGES
from tests.corpus.tokenizer_judges import judge_of, num_ids_of
from tests.corpus.tokenizer_kinds import TOKENIZER_KINDS
from tests.corpus.wrappers import WRAPPERS
from tests.reference import MAX_EXCLUDED_SHARE

NUM_DIRECTORIES = 300
POOL_BYTES = 2**23


@pytest.fixture(scope="module")
def tally() -> Counter[str]:
    """What the cases came to, for the last test."""
    return Counter()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("corpus"))


def loaded(directories: Directories) -> LLM:
    adapters = {TUNED: str(directories.adapter)} if directories.adapter else {}
    return LLM(
        str(directories.model),
        adapters,
        has_progress=False,
        dtype="float32",
        pool_bytes=POOL_BYTES,
        threads=1,
    )


@pytest.mark.parametrize("case", [c for c in CASES if not c.refusals], ids=lambda c: c.name)
def test_served_as_the_real_libraries_do(case: Case, shelf: Shelf, tally: Counter[str]) -> None:
    directories = shelf.lay_out(case)
    llm = loaded(directories)
    judge = judge_of(TOKENIZER_KINDS[case.tokenizer], directories.model)
    num_ids = num_ids_of(judge)
    if judge is not None:
        check_texts(directories, llm, judge)
        check_chat(case, llm, judge)
    check_ends(case, llm, judge, num_ids)
    count = check_tokens(case, directories, llm, shelf.models.reference(case.model), num_ids)
    tally.update(compared=count.compared, excluded=count.excluded, served=1)


@pytest.mark.parametrize("case", [c for c in CASES if c.refusals], ids=lambda c: c.name)
def test_refused_with_the_true_reason(case: Case, shelf: Shelf, tally: Counter[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(shelf.lay_out(case))
    message = str(refused.value)
    assert "\n" not in message
    assert any(word.lower() in message.lower() for word in case.refusals), message
    tally.update(refused=1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("storage", ["one-file", "sharded", "value-head"])
@pytest.mark.parametrize("oddity", ["plain", "no-dtype", "old-spelling-of-dtype"])
def test_dtype_is_that_of_the_file_or_of_its_weights(
    dtype: str, storage: str, oddity: str, shelf: Shelf
) -> None:
    model = Model(Weights("mistral", dtype=dtype), storage=storage, oddity=oddity)
    directory = shelf.models.link(model, shelf.root / "dtypes" / model.name)
    said = ODDITIES[oddity].fields.get("torch_dtype", "")
    blueprint = blueprint_of(EngineConfig(str(directory)))
    assert blueprint.dtype == getattr(torch, said, DTYPES[dtype])


@pytest.mark.parametrize(
    ("table", "used"),
    [
        (ROPE_FORMS, {case.model.rope for case in CASES}),
        (STORAGES, {case.model.storage for case in CASES}),
        (ODDITIES, {case.model.oddity for case in CASES}),
        (TOKENIZER_KINDS, {case.tokenizer for case in CASES}),
        (ADAPTERS, {case.adapter for case in CASES}),
        (WRAPPERS, {case.wrapper for case in CASES}),
        (COMPANIONS, {case.companions for case in CASES}),
    ],
    ids=["rope", "storage", "oddity", "tokenizer", "adapter", "wrapper", "companions"],
)
def test_every_row_of_a_table_is_in_some_directory(
    table: Collection[str], used: set[str | None]
) -> None:
    assert used.issuperset(table)


def test_the_corpus_is_large_and_most_of_it_is_compared(tally: Counter[str]) -> None:
    """The last: `-s` shows what the others came to."""
    print(f"{len(CASES)} directories: {dict(tally)}")
    assert len({case.name for case in CASES}) >= NUM_DIRECTORIES
    assert tally["excluded"] <= MAX_EXCLUDED_SHARE * tally["compared"]
