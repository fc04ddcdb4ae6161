"""The colours of scores: one map for signed ones, one for others, on paper and in the dark.

Blue speaks for the target, orange against it: people who see no difference between red and green
see this one. Scores that have no direction are violet. Colours are mixed in OKLab (Ottosson 2020),
where equal steps look equal, and stop where the ink on them is still easy to read.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np

LEVELS = 20  # steps from nothing to the strongest colour

Direction = Literal["for", "against", "much"]


@dataclass(frozen=True)
class Theme:
    """Colours as `#rrggbb`: of the page, of the ink on it, and the strongest of each direction."""

    page: str
    ink: str
    strongest: dict[Direction, str]


LIGHT = Theme("#ffffff", "#16181d", {"for": "#4f9fee", "against": "#f2922e", "much": "#a98bea"})
DARK = Theme("#15171c", "#f3f4f7", {"for": "#1a62b3", "against": "#9c4a06", "much": "#6a48b0"})


@dataclass(frozen=True)
class Scale:
    """What colours mean: the largest absolute score has the strongest one."""

    largest: float
    signed: bool

    @classmethod
    def of(cls, scores: np.ndarray, signed: bool) -> Scale:
        """The scale on which all of `scores`, of any shape, are shown."""
        largest = float(np.abs(scores).max()) if scores.size else 0.0
        return cls(largest, signed)

    def share(self, score: float) -> float:
        """From -1 to 1: how strong the colour is, and in which direction."""
        return score / self.largest if self.largest > 0 else 0.0

    def level(self, score: float) -> int:
        """The same in whole steps, from -LEVELS to LEVELS."""
        return round(LEVELS * self.share(score))

    def colour(self, score: float, theme: Theme = LIGHT) -> str:
        """`#rrggbb` behind the text."""
        return shade(theme, self.direction(score), abs(self.share(score)))

    def direction(self, score: float) -> Direction:
        """What a score of this sign says."""
        if not self.signed:
            return "much"
        return "against" if score < 0 else "for"


def shade(theme: Theme, direction: Direction, strength: float) -> str:
    """From the page's colour (strength 0) to the strongest of a direction (1)."""
    mixed = _mix(theme.page, theme.strongest[direction], min(max(strength, 0.0), 1.0))
    return _hex(mixed)


def contrast(one: str, other: str) -> float:
    """How well one colour is read on the other, from 1 to 21 (WCAG 2.2, contrast ratio)."""
    bright, dim = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


# Colour arithmetic.

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def _mix(start: str, end: str, share: float) -> np.ndarray:
    """Linear RGB (3,) of a mixture in OKLab."""
    lab = (1 - share) * _lab(start) + share * _lab(end)
    return np.linalg.solve(_TO_CONES, np.linalg.solve(_TO_LAB, lab) ** 3)


@functools.cache
def _lab(colour: str) -> np.ndarray:
    return _TO_LAB @ np.cbrt(_TO_CONES @ _linear(colour))


def _linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _hex(linear: np.ndarray) -> str:
    linear = linear.clip(0, 1)
    values = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * value):02x}" for value in values)


def _luminance(colour: str) -> float:
    return float(_linear(colour) @ [0.2126, 0.7152, 0.0722])
