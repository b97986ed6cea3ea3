"""Where in a model adapters may sit, and how what they put there is cut to fit pages."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain


@dataclass(frozen=True, slots=True)
class Module:
    """One part of a model that adapters may target: `out_features` sums over `in_features`.

    An embedding is one too: its inputs are the token ids.
    """

    path: str
    """In the model, such as `model.layers.0.self_attn.q_proj` or `lm_head`."""
    in_features: int
    out_features: int
    in_padding: int = 0
    """Inputs beyond these, and outputs, that files have too: rows of a vocabulary for no token."""
    out_padding: int = 0
    is_embedding: bool = False
    """Its weight has a row for each input, and PEFT names its matrices otherwise."""

    @property
    def name(self) -> str:
        """The last part of the path, which adapters list as a target module."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Site:
    """A module, or the part of a wide one whose tiles fit pages: one row of the kernels' tables.

    `inputs` are the columns of A and `outputs` the rows of B that lie here.
    """

    module: int
    inputs: range
    outputs: range


@dataclass(frozen=True)
class AdapterGeometry:
    """Every module that adapters may target, in the order of the kernels' tables.

    A module with more inputs or outputs than `tile_width` takes several consecutive sites: the
    wide side is cut into parts of that width, the other side lies whole at the first of them.
    """

    modules: tuple[Module, ...]
    tile_width: int
    """Most columns of a tile."""

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        return tuple(chain.from_iterable(map(self._sites_of, range(len(self.modules)))))

    def _sites_of(self, index: int) -> Iterator[Site]:
        module, width = self.modules[index], self.tile_width
        inputs, outputs = _parts(module.in_features, width), _parts(module.out_features, width)
        for part in range(max(len(inputs), len(outputs))):
            yield Site(index, _part(inputs, part), _part(outputs, part))


def in_layers(num_layers: int, modules: tuple[Module, ...]) -> tuple[Module, ...]:
    """`modules`, whose paths are within a layer, once for each layer."""
    return tuple(
        replace(module, path=f"model.layers.{layer}.{module.path}")
        for layer in range(num_layers)
        for module in modules
    )


def _parts(count: int, width: int) -> list[range]:
    return [range(start, min(start + width, count)) for start in range(0, count, width)]


def _part(parts: list[range], index: int) -> range:
    return parts[index] if index < len(parts) else range(0)
