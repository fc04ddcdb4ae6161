"""Which way a text is read."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Literal

Side = Literal["left", "right", ""]


def side(character: str) -> Side:
    """From where a character is read, numbers from the left; empty if it goes with others."""
    kind = unicodedata.bidirectional(character)
    return "right" if kind in ("R", "AL") else "left" if kind in ("L", "EN", "AN") else ""


def from_right(texts: Iterable[str]) -> bool:
    """Whether a paragraph is read from the right: as its first letter is, as in UAX 9."""
    letters = (letter for text in texts for letter in text if unicodedata.category(letter) != "Nd")
    return next((found for letter in letters if (found := side(letter))), "left") == "right"
