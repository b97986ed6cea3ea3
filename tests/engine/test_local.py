"""The executor alone: from directories, over host and device, to tokens."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from motet.engine.config import BatchConfig, EngineConfig, ModelConfig, PoolConfig
from motet.engine.inbox import Inbox
from motet.engine.models import load_model
from motet.engine.models.inputs import DeviceState, StepInputs
from motet.engine.plan import BASE_SLOT, AdapterBinding, Batch, Row
from motet.engine.request import SamplingParams
from motet.engine.start import executor as making
from motet.engine.start.adapters import stager_of
from motet.engine.start.blueprint import blueprint_of
from motet.engine.start.executor import make_executor
from motet.engine.start.kernels import prepare_kernels
from motet.memory.copy import (
    Copy,
    CopyEnded,
    Direction,
    PagePair,
    Read,
    ReadEnded,
    Ticket,
    Transfers,
)
from motet.memory.device.pace import SHARE
from motet.memory.page import PageId
from tests.adapter_factory import ADAPTER_KINDS, load_with_peft, save_adapter
from tests.model_factory import make_llama

KINDS = ("patterns", "dora", "both-ends")
PROMPT = tuple(range(3, 40))
NUM_PAGES = 256


class Setting:
    """An executor without a scheduler: pages are handed out in their order, host and device."""

    def __init__(self, model: Path) -> None:
        batch = BatchConfig(max_batch_tokens=64, max_batch_adapters=4)
        options = ModelConfig(device="cpu", max_model_len=64)
        self.blueprint = blueprint_of(EngineConfig(str(model), (), options, PoolConfig(), batch))
        self.inbox = Inbox()
        kernels = prepare_kernels(
            self.blueprint.device, lambda done, total: None, is_deterministic=False
        )
        spec, device = self.blueprint.spec, self.blueprint.device
        weights = load_model(spec, self.blueprint.dtype, device, 64, lambda done, total: None)
        self.stager = stager_of(self.blueprint, "base")
        self.executor = make_executor(
            self.blueprint,
            weights,
            kernels,
            self.stager,
            NUM_PAGES,
            NUM_PAGES,
            self.inbox,
            poison_released=True,
        )
        self.executor.begin(Transfers(released=tuple(map(PageId, range(NUM_PAGES)))))
        self._next_page = 0
        self._ticket = 0

    def pages(self, num_pages: int) -> tuple[PageId, ...]:
        first = self._next_page
        self._next_page += num_pages
        return tuple(map(PageId, range(first, self._next_page)))

    def ticket(self) -> Ticket:
        self._ticket += 1
        return Ticket(self._ticket)

    def read(self, directory: Path, pages: tuple[PageId, ...] = ()) -> ReadEnded:
        self.executor.begin(Transfers(reads=(Read(self.ticket(), str(directory), pages),)))
        [ended] = self.inbox.take(10)
        assert isinstance(ended, ReadEnded) and ended.ticket == self._ticket
        return ended

    def copy(self, direction: Direction, pairs: tuple[PagePair, ...]) -> None:
        copy = Copy(self.ticket(), direction, pairs)
        self.executor.begin(Transfers(copies=(copy,)))
        assert self.inbox.take(10) == [CopyEnded(copy.ticket, len(pairs))]

    def bound(self, directory: Path, slot: int) -> AdapterBinding:
        """Read an adapter, and bring it to the device."""
        header = self.read(directory).content
        assert header is not None
        on_host = self.pages(header.num_pages)
        content = self.read(directory, on_host).content
        assert content is not None and content.digest is not None
        on_device = self.pages(header.num_pages)
        self.copy(Direction.TO_DEVICE, tuple(map(PagePair, on_host, on_device)))
        return AdapterBinding(slot, content.digest, on_device)

    def token(self, row: Row, *bindings: AdapterBinding) -> int | None:
        [sampled] = self.executor.execute(Batch(1, (row,), bindings)).tokens
        return sampled.token_id

    def row(self, slot: int = BASE_SLOT) -> Row:
        pages = self.pages(-(-len(PROMPT) // self.blueprint.layout.page_tokens))
        return Row("r", PROMPT, 0, pages, slot, SamplingParams(1, temperature=0), 0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def adapters(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base, root = LlamaForCausalLM.from_pretrained(model), tmp_path_factory.mktemp("adapters")
    return {kind: save_adapter(base, root / kind, ADAPTER_KINDS[kind]) for kind in KINDS}


@pytest.fixture
def setting(model: Path) -> Setting:
    return Setting(model)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_comes_from_its_directory_to_the_tokens_of_peft(
    kind: str, model: Path, adapters: dict[str, Path], setting: Setting
) -> None:
    peft = load_with_peft(LlamaForCausalLM.from_pretrained(model), adapters[kind])
    with torch.inference_mode():
        expected = int(peft(torch.tensor([PROMPT])).logits[0, -1].argmax())
    binding = setting.bound(adapters[kind], slot=2)
    assert setting.token(setting.row(slot=2), binding) == expected


def test_kv_that_was_on_the_host_is_the_same_in_other_pages(setting: Setting) -> None:
    whole = setting.row()
    expected = setting.token(whole)
    on_host, elsewhere = setting.pages(len(whole.pages)), setting.pages(len(whole.pages))
    setting.copy(Direction.TO_HOST, tuple(map(PagePair, on_host, whole.pages)))
    setting.executor.begin(Transfers(released=whole.pages))
    setting.copy(Direction.TO_DEVICE, tuple(map(PagePair, on_host, elsewhere)))
    last = Row("r", PROMPT[-1:], len(PROMPT) - 1, elsewhere, BASE_SLOT, whole.sampling, 0)
    assert setting.token(last) == expected


def test_what_is_forgotten_is_gone_until_it_is_read_again(
    adapters: dict[str, Path], setting: Setting
) -> None:
    binding = setting.bound(adapters["patterns"], slot=1)
    assert len(setting.stager.patterns) == 1
    setting.executor.begin(Transfers(forgotten=(binding.digest, "never read")))
    assert len(setting.stager.patterns) == 0
    with pytest.raises(KeyError):
        setting.token(setting.row(slot=1), binding)


def test_the_end_of_a_read_and_of_a_copy_are_told_again_as_such(
    adapters: dict[str, Path], setting: Setting
) -> None:
    read = setting.read(adapters["patterns"])
    page = setting.pages(1)
    setting.copy(Direction.TO_HOST, tuple(map(PagePair, page, page)))
    setting.executor.begin(Transfers(cancelled=(read.ticket, Ticket(read.ticket + 1))))
    assert setting.inbox.take(10) == [read, CopyEnded(Ticket(read.ticket + 1), 0)]


def test_reads_hold_back_while_a_batch_is_computed_and_no_longer(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor, seen = setting.executor, list[bool]()
    forward, pace = executor._model.forward, executor._pace

    def look(inputs: StepInputs, state: DeviceState) -> Tensor:
        seen.append(pace._is_computing)
        return forward(inputs, state)

    monkeypatch.setattr(executor._model, "forward", look)
    setting.token(setting.row())
    assert seen == [True] and not pace._is_computing
    assert executor._reader._pace is pace


@pytest.mark.parametrize(("num_spare", "share"), [(0, SHARE), (1, 1)])
def test_reads_hold_back_only_where_steps_leave_no_core(
    num_spare: int, share: float, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = torch.get_num_threads() + num_spare
    monkeypatch.setattr(making, "usable_cores", lambda: cores)
    assert Setting(model).executor._pace._share == share
