"""The two ends of a decoder, token ids to states and states to logits, with each row's adapter.

As wide as the vocabulary, what adapters add to them may lie at several sites, as many as the pages
of the engine make of that width.
"""

from torch import Tensor
from torch.nn import functional

from motet.engine.models.checkpoint import EMBEDDING, HEAD
from motet.engine.models.inputs import DeviceState, StepInputs
from motet.engine.models.loader import Weights
from motet.engine.models.spec import ModelSpec
from motet.kernels import LoraBatch, LoraTables


class Embedding:
    """Token ids to hidden states."""

    def __init__(self, spec: ModelSpec, weights: Weights) -> None:
        self._weight = weights.tensor(EMBEDDING, spec.vocab_size, spec.hidden_size)
        self._num_token_ids, self._hidden_size = spec.num_token_ids, spec.hidden_size
        self._site = _first_site(spec)

    def forward(self, inputs: StepInputs, state: DeviceState) -> Tensor:
        """`[num_tokens, hidden_size]`."""
        stream = functional.embedding(inputs.token_ids, self._weight)
        if inputs.lora is not None:
            at = (state.arena, state.tables, inputs.lora, self._site)
            shrunk = state.shrunk[:1, : len(inputs.lora.row_index)]
            state.kernels.lora_embed(shrunk, inputs.token_ids, *at, self._num_token_ids)
            state.kernels.lora_expand(stream, shrunk, *at, (0, self._hidden_size))
        return stream


class Head:
    """Hidden states to logits, without those of the rows that pad the vocabulary."""

    def __init__(self, spec: ModelSpec, weights: Weights) -> None:
        shape = (spec.vocab_size, spec.hidden_size)
        weight = weights.twin(HEAD, of=EMBEDDING) if spec.is_tied else weights.tensor(HEAD, *shape)
        self._linear = weights.linear(weight[: spec.num_token_ids])
        self._num_token_ids = spec.num_token_ids
        self._first_site = _first_site(spec)

    def forward(self, hidden: Tensor, lora: LoraBatch | None, state: DeviceState) -> Tensor:
        """float32 `[len(hidden), num_token_ids]`."""
        logits = self._linear.forward(hidden)
        if lora is not None:
            starts = self._part_starts(state.tables)
            # Behind the sites of the embedding, which has as many. All parts share the first's A.
            at = (state.arena, state.tables, lora, self._first_site + len(starts))
            shrunk = state.shrunk[:1, : len(lora.row_index)]
            state.kernels.lora_shrink(shrunk, hidden, *at)
            shrunk = shrunk.expand(len(starts), -1, -1)
            state.kernels.lora_expand(logits, shrunk, *at, (*starts, self._num_token_ids))
        return logits.float()

    def _part_starts(self, tables: LoraTables) -> range:
        return range(0, self._num_token_ids, tables.tile_width)


def _first_site(spec: ModelSpec) -> int:
    """The first behind those of the layers, which have one for each module."""
    return spec.num_layers * len(spec.layer_modules)
