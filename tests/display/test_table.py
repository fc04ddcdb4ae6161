"""Data frames: every part and target, in the order of the text."""

from __future__ import annotations

import sys

import made
import numpy as np
import pytest

from lit_plugins.attribution.explanation import Segment
from lit_plugins.display import table
from lit_plugins.errors import LitPluginsError


def test_a_row_a_part():
    one = made.explanation(
        ["[CLS]", " two words", " end", "."],
        [1.5, -0.5],
        segments=(Segment(1, 3, " two words"), Segment(4, 5, ".")),
        tokens=("[CLS]", "▁two", "▁words", "▁end", "."),
        own=(False, True, True, True, True),
        places=(4,),
    )
    frame = table.frame(one)
    assert frame.text.tolist() == ["[CLS]", " two words", " end", "."]
    np.testing.assert_array_equal(frame.score, [np.nan, 1.5, np.nan, -0.5])
    assert frame.score.dtype == np.float32
    assert frame.start.tolist() == [0, 1, 3, 4]
    assert frame.stop.tolist() == [1, 3, 4, 5]
    assert frame.own.tolist() == [False, True, True, True]
    assert frame.explained.tolist() == [False, False, False, True]
    assert set(frame.target) == {"LABEL_0"}
    assert frame.attrs["units"] == "nats"


def test_a_row_a_part_and_target():
    scores = np.arange(6).reshape(2, 3)
    frame = table.frame(made.explanation(["a", " b", " c"], scores))
    assert frame.target.tolist() == ["LABEL_0"] * 3 + ["LABEL_1"] * 3
    pivot = frame.pivot(index="target", columns="start", values="score")
    np.testing.assert_array_equal(pivot.to_numpy(), scores)


def test_of_nothing():
    frame = table.frame(made.explanation([], [], names=()))
    assert len(frame) == 0
    assert {"text", "score", "target"} <= set(frame.columns)


def test_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(LitPluginsError, match="pip install"):
        table.frame(made.explanation(["a"], [1]))
