"""Adapter directories that exist only in name."""

from dataclasses import dataclass, field

from motet.memory.adapter import AdapterContent


@dataclass(slots=True)
class FakeDisk:
    """Path -> what lies there. May be changed at any time, as files may."""

    contents: dict[str, AdapterContent] = field(default_factory=dict)
    """Each with its digest."""

    def put(self, path: str, digest: str, num_pages: int) -> None:
        """Another content under a path, as a trainer saves it."""
        self.contents[path] = AdapterContent(max_rank=8, num_pages=num_pages, digest=digest)

    def remove(self, path: str) -> None:
        self.contents.pop(path, None)
