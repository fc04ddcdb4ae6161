"""From token ids to text that a person can read, exactly.

A token stands for bytes, not for characters: one emoji may be four tokens. Everything here
works on those bytes, so that the tokens put together give the text, nothing lost.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# What LIT's client reads as a space at a token's beginning.
SPACE = "▁"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


@dataclass(frozen=True)
class Piece:
    """What one token stands for. `special`: a marker such as <bos>, not part of the text."""

    data: bytes
    special: bool = False


@functools.cache
def _byte_of_character() -> dict[str, int]:
    """The table of byte-level BPE: printable bytes are themselves, the others are moved.

    Radford et al. 2019, `bytes_to_unicode` in the published GPT-2 encoder.
    """
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(256 + place): byte for place, byte in enumerate(moved)
    }


def byte_level_piece(token: str) -> Piece:
    """A token of byte-level BPE (GPT-2, Llama 3, SmolLM2): `Ġthe` is ` the`, `Ċ` a newline."""
    table = _byte_of_character()
    if all(character in table for character in token):
        return Piece(bytes(table[character] for character in token))
    return Piece(token.encode())  # an added token: written as it is


def sentencepiece_piece(token: str) -> Piece:
    """A token of SentencePiece (Gemma, Llama 2): `▁the` is ` the`, `<0x0A>` a newline."""
    if byte := _BYTE.fullmatch(token):
        return Piece(bytes([int(byte[1], 16)]))
    return Piece(token.replace(SPACE, " ").encode())


def plain_text(pieces: Sequence[Piece]) -> str:
    """The text that the pieces stand for, special tokens left out."""
    data = b"".join(piece.data for piece in pieces if not piece.special)
    return data.decode(errors="replace")


def readable(pieces: Sequence[Piece]) -> list[str]:
    """One string a token, to be shown: put together they give the text, with ▁ for a space.

    Spaces at a token's beginning become ▁, which LIT's client expects; newlines stay. Where one
    character is spread over several tokens, the first of them shows it and the others show
    nothing; bytes that make no character show as �.
    """
    shown = [""] * len(pieces)
    start = 0
    while start < len(pieces):
        end = start + 1
        if not pieces[start].special:
            # A run ends where its bytes end on a character; a character has four bytes at most.
            while _incomplete(pieces[start:end]) and end < len(pieces) and end - start < 4:
                if pieces[end].special:
                    break
                end += 1
            if not _whole(pieces[start:end]):
                end = start + 1
        shown[start] = with_space_marks(_bytes(pieces[start:end]).decode(errors="replace"))
        start = end
    return shown


def with_space_marks(text: str) -> str:
    """The text with ▁ for each space at its beginning, which LIT's client expects of a token."""
    spaces = len(text) - len(text.lstrip(" "))
    return SPACE * spaces + text[spaces:]


def _incomplete(pieces: Sequence[Piece]) -> bool:
    """Whether the bytes end within a character."""
    try:
        _bytes(pieces).decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False


def _whole(pieces: Sequence[Piece]) -> bool:
    """Whether the bytes are characters throughout."""
    try:
        _bytes(pieces).decode()
    except UnicodeDecodeError:
        return False
    return True


def continuation(
    target: str,
    encode: Callable[[str], list[int]],
    pieces: Callable[[Sequence[int]], list[Piece]],
) -> list[int]:
    """The tokens of a text that goes on from another one.

    SentencePiece tokenizers of the Llama 2 kind put a space before whatever they are given,
    which a continuation does not have: then the text is tokenised behind a newline.
    """
    if not target:
        return []
    ids = encode(target)
    wanted = target.encode(errors="replace")
    if _bytes(pieces(ids)) == wanted:
        return ids
    behind, newline = encode("\n" + target), encode("\n")
    if behind[: len(newline)] == newline:
        rest = behind[len(newline) :]
        if _bytes(pieces(rest)) == wanted:
            return rest
    return ids


def _bytes(pieces: Sequence[Piece]) -> bytes:
    return b"".join(piece.data for piece in pieces)
