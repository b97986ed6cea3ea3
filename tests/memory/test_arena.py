"""The memory of a device: views of one allocation."""

import torch

from motet.memory.device.arena import Arena
from motet.memory.layout import PageLayout
from motet.memory.page import PageId


def test_views_of_the_arena_share_its_memory() -> None:
    layout = PageLayout(num_layers=2, page_tokens=4, num_kv_heads=2, head_dim=8, element_bytes=4)
    arena = Arena(layout, 3, torch.float32, torch.device("cpu"))
    arena.kv[1, 0, 0, 0, 0, 0] = 7
    assert arena.pages[1, 0] == arena.flat[layout.elements] == 7


def test_poison_fills_exactly_the_pages_named() -> None:
    layout = PageLayout(num_layers=1, page_tokens=4, num_kv_heads=1, head_dim=8, element_bytes=4)
    arena = Arena(layout, 4, torch.float32, torch.device("cpu"))
    arena.flat.zero_()
    arena.poison([PageId(1), PageId(3)])
    assert arena.pages.isnan().all(dim=1).tolist() == [False, True, False, True]
    assert not arena.pages[[0, 2]].isnan().any()
    arena.poison([])
