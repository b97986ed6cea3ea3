"""What kernels and memory both say about tiles, since neither may import the other."""

from motet import kernels
from motet.memory import layout, packing


def test_kernels_read_tiles_as_the_memory_package_places_them() -> None:
    assert layout.TILE_RANKS == kernels.TILE_RANKS
    assert (packing.SIDE_A, packing.SIDE_B) == (kernels.SIDE_A, kernels.SIDE_B)
