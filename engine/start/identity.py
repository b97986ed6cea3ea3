"""What a model is, told by its files without reading its weights."""

import hashlib
from pathlib import Path

from motet.engine.models.checkpoint import weight_files
from motet.file_names import MODEL_CONFIG


def identify(directory: str) -> str:
    """A name for the content of a model directory that is cheap to find: a SHA-256.

    Covers config.json and, of every file of weights, its name, its header (names, shapes, dtypes
    and places of all tensors) and its size, but not the values of the weights: it tells apart
    models of different shape, not two trainings of one shape.
    """
    sha = hashlib.sha256((Path(directory) / MODEL_CONFIG).read_bytes())
    for path in weight_files(Path(directory)):
        size = path.stat().st_size
        with path.open("rb") as file:
            length = file.read(8)
            header = file.read(min(int.from_bytes(length, "little"), size))  # may be corrupt
        sha.update(f"\n{path.name} {size} ".encode() + length + header)
    return sha.hexdigest()
