"""The pictures that shap draws."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lit_plugins.report.beeswarm import DARK, LIGHT, beeswarm


def pixels(png, colour):
    """How many are of this colour, and the mean of their columns as a share of the width."""
    image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    found = np.argwhere((image == wanted).all(-1))
    return len(found), found[:, 1].mean() / image.shape[1] if len(found) else None


@pytest.mark.parametrize("ink", [LIGHT, DARK])
@pytest.mark.parametrize("texts", [2, 3, 40, 300])
def test_dots_are_where_scores_are(texts, ink):
    rows = [{"for": 1.0 + n / texts, "against": -1.0} if n % 2 else {} for n in range(texts)]
    [both] = beeswarm(rows, ["for", "against"], "nats", [ink])
    [right] = beeswarm([{"a": 1.0}, *({} for _ in range(texts))], ["a"], "nats", [ink])
    assert pixels(both, ink.present)[0] > 20
    assert pixels(both, ink.absent)[0] > 20
    count, place = pixels(right, ink.present)
    assert count > 10
    assert place > pixels(right, ink.absent)[1] + 0.3


def test_a_word_in_every_text_has_no_pale_dots():
    [picture] = beeswarm([{"a": 1.0}, {"a": 2.0}], ["a"], "nats", [LIGHT])
    [other] = beeswarm([{"a": 1.0}, {"a": 2.0}, {}], ["a"], "nats", [LIGHT])
    assert pixels(picture, LIGHT.present)[0] > 20
    # Edges of letters and lines have that grey, too.
    assert pixels(other, LIGHT.absent)[0] > pixels(picture, LIGHT.absent)[0] + 10


def test_both_pictures_differ_in_colours_alone():
    rows = [{"a": float(n), "b": -1.0} for n in range(20)]
    light, dark = (np.asarray(Image.open(io.BytesIO(one)).convert("RGB"))
                   for one in beeswarm(rows, ["a", "b"], "nats"))  # fmt: skip
    assert light.shape == dark.shape
    assert light[0, 0].tolist() == [255, 255, 255]
    assert dark[0, 0].max() < 40


@pytest.mark.parametrize("word", ["$x^2$", "日本語", "שלום", "🎬", "w" * 500, "a_b", " "])
def test_any_word_can_be_drawn(word):
    [first] = beeswarm([{word: 1.0}, {}], [word], "nats", [LIGHT])
    assert Image.open(io.BytesIO(first)).width < 1400
    assert beeswarm([{word: 1.0}, {}], [word], "nats", [LIGHT]) == [first]
