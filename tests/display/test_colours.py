"""Colours: ink is readable on all of them, and people who see fewer colours see these."""

from __future__ import annotations

import numpy as np
import pytest

from lit_plugins.display import colours
from lit_plugins.display.colours import DARK, LEVELS, LIGHT, Scale, contrast, shade

DIRECTIONS = ("for", "against", "much")
# Machado, Oliveira and Fernandes 2009, severity 1: what linear RGB becomes.
BLINDNESS = {
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def rgb(colour):
    return np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]) ** 2.2


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_ink_is_readable_on_every_level(theme, direction):
    ratios = [contrast(theme.ink, shade(theme, direction, one / LEVELS)) for one in range(21)]
    assert min(ratios) > 5  # WCAG 2.2 AA asks for 4.5
    assert ratios == sorted(ratios, reverse=True)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("kind", BLINDNESS)
def test_for_and_against_differ_for_the_colour_blind(theme, kind):
    seen = np.array(BLINDNESS[kind])
    one, other = (seen @ rgb(theme.strongest[way]) for way in ("for", "against"))
    apart = np.linalg.norm(one - other)
    # As far as they are, without colours, from green and red of the same lightness: not at all.
    assert apart > 0.15


def test_ends_are_the_page_and_the_strongest():
    for theme in (LIGHT, DARK):
        for direction in DIRECTIONS:
            assert shade(theme, direction, 0) == theme.page
            assert shade(theme, direction, 1) == theme.strongest[direction]
            assert shade(theme, direction, 9) == theme.strongest[direction]


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_the_largest_score_has_the_strongest_colour():
    scale = Scale.of(np.array([[0.5, -2.0], [0.0, 1.0]]), signed=True)
    assert scale.largest == 2
    assert [scale.level(score) for score in (-2.0, -1.0, 0.0, 0.5, 2.0)] == [-20, -10, 0, 5, 20]
    assert scale.colour(-2.0) == LIGHT.strongest["against"]
    assert scale.colour(2.0, DARK) == DARK.strongest["for"]
    assert scale.colour(0.0) == LIGHT.page


def test_scores_without_direction_have_a_colour_of_their_own():
    scale = Scale.of(np.array([1.0, 3.0]), signed=False)
    assert scale.colour(3.0) == LIGHT.strongest["much"]
    assert LIGHT.strongest["much"] not in (LIGHT.strongest["for"], LIGHT.strongest["against"])


@pytest.mark.parametrize("scores", [np.zeros(3), np.zeros((2, 0)), np.zeros(0)])
def test_nothing_has_no_colour(scores):
    scale = Scale.of(scores, signed=True)
    assert scale.largest == 0
    assert scale.colour(0.0) == LIGHT.page
    assert scale.level(0.0) == 0


def test_equal_steps_look_equal():
    """Mixed in OKLab: lightness is half-way half-way, which in sRGB it is not."""
    ends = [colours._lab(LIGHT.page), colours._lab(LIGHT.strongest["for"])]
    middle = colours._lab(shade(LIGHT, "for", 0.5))
    np.testing.assert_allclose(middle, np.mean(ends, axis=0), atol=0.003)
