"""tokenizer.model alone: SentencePiece itself cuts the text, which makes it the same for any model.

Its order of merges, its sums of scores in single precision, its normalizer and its symbols of users
have no equal in the parts of `tokenizers`. So the normalizer here writes a text as SentencePiece's
pieces, with a separator between them that no piece has, and what follows looks them up. What
`tokenizers` does around it is as everywhere: tokens written in a text become their ids, what stands
between them is a text of its own (as in the files of Llama 2), and ids become text piece by piece.
"""

from pathlib import Path

from sentencepiece import SentencePieceProcessor
from tokenizers import (
    AddedToken,
    NormalizedString,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
)

from motet.errors import ModelError
from motet.file_names import SENTENCEPIECE_MODEL
from motet.tokenizer.added_tokens import read_added_tokens
from motet.tokenizer.source import TokenizerSource

_SPACE = "▁"
_NONCHARACTERS = tuple(map(chr, range(0xFDD0, 0xFDF0)))  # Unicode gives them to programs like this
_EVERY = 2**16  # spaces before a text


def read_sentencepiece(directory: Path) -> TokenizerSource:
    """Raises ModelError for a file of another kind, and for added tokens that do not fit it."""
    processor = _load(directory / SENTENCEPIECE_MODEL)
    pieces = [processor.id_to_piece(index) for index in range(len(processor))]
    added = _own_symbols(processor, pieces) | read_added_tokens(directory)
    for index, token in added.items():
        if index < len(pieces) and pieces[index] != token.content:
            raise ModelError(
                f"token {index} is {token.content!r} in the files beside {SENTENCEPIECE_MODEL} and "
                f"{pieces[index]!r} in it: download the files of one model, or its tokenizer.json"
            )
    ids = {piece: index for index, piece in enumerate(pieces)}
    ids |= {token.content: index for index, token in added.items()}
    separator = next(c for c in _NONCHARACTERS if not any(c in piece for piece in pieces))

    backend = Tokenizer(models.WordLevel(ids, unk_token=pieces[processor.unk_id()]))
    backend.normalizer = normalizers.Normalizer.custom(_Cutter(processor, pieces, separator))
    backend.pre_tokenizer = pre_tokenizers.Split(separator, "removed")
    backend.decoder = _decoder(processor, pieces)
    backend.add_tokens([token for _, token in sorted(added.items())])
    places = {"bos_token": processor.bos_id(), "eos_token": processor.eos_id()}  # -1 for none
    roles = {role: pieces[place] for role, place in places.items() if place >= 0}
    return TokenizerSource(backend, roles, adds_bos="bos_token" in roles)


def _load(path: Path) -> SentencePieceProcessor:
    content = path.read_bytes()
    try:
        if not content:
            raise RuntimeError("it is empty")
        return SentencePieceProcessor(model_proto=content)
    except RuntimeError as error:
        raise ModelError(
            f"{path.name} is no SentencePiece model ({' '.join(str(error).split())}): download it "
            "again or, where it is of another kind (tiktoken's have the same name), the "
            "tokenizer.json of the model"
        ) from error


class _Cutter:
    """A normalizer of `tokenizers`. Several threads may use it at once."""

    def __init__(
        self, processor: SentencePieceProcessor, pieces: list[str], separator: str
    ) -> None:
        self._processor = processor
        self._pieces = pieces
        self._separator = separator

    def normalize(self, text: NormalizedString) -> None:
        ids = self._processor.encode(str(text.normalized))  # holds no GIL
        cut = self._separator.join(map(self._pieces.__getitem__, ids))
        text.clear()
        text.append(cut)


def _own_symbols(processor: SentencePieceProcessor, pieces: list[str]) -> dict[int, AddedToken]:
    """What SentencePiece finds in no text, but chat templates write."""
    return {
        index: AddedToken(piece, normalized=False, special=True)
        for index, piece in enumerate(pieces)
        if processor.is_control(index) or processor.is_unknown(index)
    }


def _decoder(processor: SentencePieceProcessor, pieces: list[str]) -> decoders.Decoder:
    parts = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if num_hidden := _num_hidden_spaces(processor, pieces):
        parts.append(decoders.Strip(" ", left=num_hidden, right=0))
    return decoders.Sequence(parts)


def _num_hidden_spaces(processor: SentencePieceProcessor, pieces: list[str]) -> int:
    """How many spaces before a text it takes for its own, and does not show."""
    words = (piece for piece in pieces if piece.startswith(_SPACE) and piece.strip(_SPACE))
    word = next(words, _SPACE)
    if processor.decode_pieces([word]).startswith(" "):
        return 0
    if _SPACE in pieces and not processor.decode_pieces([_SPACE, word]).startswith(" "):
        return _EVERY
    return 1
