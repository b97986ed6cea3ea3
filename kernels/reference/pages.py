"""What goes into pages."""

from torch import Tensor


def copy_pages(arena: Tensor, image: Tensor, pages: Tensor) -> None:
    arena_pages = arena.view(-1, image.shape[1])
    for page, content in zip(pages.tolist(), image, strict=True):
        arena_pages[page].copy_(content, non_blocking=True)
