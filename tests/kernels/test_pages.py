"""Page copies into a real arena."""

import torch

from tests.kernels.arena import Arena, a_layout
from tests.kernels.target import Target, bits

GROUP = "pages"


def an_image(arena: Arena, num_pages: int) -> torch.Tensor:
    return arena.target.randn(num_pages, arena.layout.elements).cpu()


def test_pages_are_copied_to_their_places_only(target: Target) -> None:
    arena = Arena(target, a_layout(target), num_pages=6)
    image = an_image(arena, 3)
    expected = arena.memory.clone().view(6, -1)
    for content, page in zip(image, [4, 0, 3], strict=True):
        expected[page] = content.to(target.device)

    target.kernels.copy_pages(arena.memory, image, target.ints([4, 0, 3], torch.int64))

    assert torch.equal(bits(arena.memory), bits(expected.flatten()))


def test_copying_no_page_changes_nothing(target: Target) -> None:
    arena = Arena(target, a_layout(target), num_pages=2)
    before = bits(arena.memory)

    target.kernels.copy_pages(arena.memory, an_image(arena, 0), target.ints([], torch.int64))

    assert torch.equal(bits(arena.memory), before)
