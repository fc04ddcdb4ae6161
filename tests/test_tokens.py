from __future__ import annotations

import pytest

from lit_plugins.models.tokens import (
    Piece,
    byte_level_piece,
    continuation,
    plain_text,
    readable,
    sentencepiece_piece,
)


@pytest.mark.parametrize(
    ("token", "data"),
    [("Ġthe", b" the"), ("Ċ", b"\n"), ("ĊĊ", b"\n\n"), ("ðŁĳĭ", "👋".encode()), ("é", b"\xe9")],
)
def test_byte_level(token, data):
    assert byte_level_piece(token) == Piece(data)


def test_byte_level_added_token_is_written_as_it_is():
    assert byte_level_piece("hello world → x") == Piece("hello world → x".encode())


@pytest.mark.parametrize(
    ("token", "data"),
    [("▁the", b" the"), ("<0x0A>", b"\n"), ("<0xF0>", b"\xf0"), ("▁▁", b"  "), ("<h1>", b"<h1>")],
)
def test_sentencepiece(token, data):
    assert sentencepiece_piece(token) == Piece(data)


def _pieces(*data: bytes) -> list[Piece]:
    return [Piece(one) for one in data]


def test_readable_marks_leading_spaces_and_keeps_newlines():
    assert readable(_pieces(b" the", b"  ", b"\n", b"a b", b"")) == ["▁the", "▁▁", "\n", "a b", ""]


def test_readable_shows_a_split_character_once():
    wave = "👋".encode()
    pieces = _pieces(b" ", wave[:1], wave[1:2], wave[2:], b"!")
    assert readable(pieces) == ["▁", "👋", "", "", "!"]


def test_readable_keeps_what_follows_in_the_same_token():
    e = "é".encode()
    assert readable(_pieces(b"caf" + e[:1], e[1:] + b"s", b"x")) == ["cafés", "", "x"]


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (_pieces(b"\xf0", b"abc"), ["�", "abc"]),
        (_pieces(b"\xf0\x9f"), ["�"]),
        (_pieces(b"\xff", b"\xfe"), ["�", "�"]),
        ([Piece(b"\xf0"), Piece(b"<eos>", special=True)], ["�", "<eos>"]),
        ([], []),
    ],
)
def test_readable_shows_bytes_without_a_character_as_replacement(pieces, shown):
    assert readable(pieces) == shown


def test_plain_text_leaves_special_tokens_out():
    assert plain_text([Piece(b"<bos>", True), Piece(b" a"), Piece(b"\n")]) == " a\n"


def test_continuation_drops_the_space_that_a_tokenizer_puts_in_front():
    """As Llama 2's tokenizer: each text gets a space in front."""

    def encode(text):
        return [ord(character) for character in " " + text]

    def pieces(ids):
        return _pieces(*(chr(one).encode() for one in ids))

    assert pieces(continuation("ab", encode, pieces)) == _pieces(b"a", b"b")
    assert continuation("", encode, pieces) == []
