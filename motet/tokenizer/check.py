"""Whether what serves still encodes as the files do: some texts, compared at every start."""

from collections.abc import Callable, Mapping

from tokenizers import Tokenizer

from motet.errors import ModelError
from motet.tokenizer.faults import library_faults

TEXTS = (
    "Hello, world!",
    " a  b   c ",
    "line one\n\n\tline 2\r\n",
    "It's 3.14159 (or 1,000,000)",
    "naïve café — “ﬁne”",
    "漢字かな 한국어 😀👩‍👩‍👧",
    "def f(x):\n    return x**2  # 4 spaces",
)
MAX_SPECIAL_TOKENS = 8  # of some models there are hundreds, all alike

Ids = tuple[int, ...]


def probes(backend: Tokenizer) -> dict[str, Ids]:
    """Texts, some with tokens written in them, and their ids with what stands around a text."""
    added = [token.content for _, token in sorted(backend.get_added_tokens_decoder().items())]
    texts = (*TEXTS, *(f"a {token}b" for token in added[:MAX_SPECIAL_TOKENS]))
    with library_faults():
        return {text: tuple(backend.encode(text).ids) for text in texts}


def check_probes(expected: Mapping[str, Ids], encode: Callable[[str], list[int]]) -> None:
    """Raises ModelError for the first text that `encode` takes for something else."""
    for text, ids in expected.items():
        served = tuple(encode(text))
        if served != ids:
            raise ModelError(
                f"the tokenizer serves {text!r} as {list(served)}, and its file says {list(ids)}: "
                "report it with the file; until then move its files away to serve token ids only"
            )
