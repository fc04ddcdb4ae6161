"""Explanations as tables."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import numpy as np

from lit_plugins.attribution.explanation import Explanation
from lit_plugins.errors import LitPluginsError

if TYPE_CHECKING:
    import pandas as pd


def frame(explanation: Explanation) -> pd.DataFrame:
    """A row a part, in the order of the text; with `each`, a row for each target and part.

    Columns: `text`; `score`, NaN for parts that have none; `start` and `stop`, its tokens; `own`,
    whether it is the user's own text; `explained`, whether it is among what is explained;
    `target`, the name of what the score is of. The explanation's model, task, method, units and
    foil are in `attrs`.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        raise LitPluginsError("Data frames need: pip install pandas") from None
    parts = explanation.parts()
    each = explanation.scores.ndim == 2
    names = explanation.names if each else (", ".join(explanation.names),)
    count = len(explanation.scores) if each else 1
    scores = np.full((count, len(parts)), np.nan, np.float32)
    for place, part in enumerate(parts):
        if part.score is not None:
            scores[:, place] = part.score
    made = pandas.DataFrame(
        {
            "text": [part.text for part in parts] * count,
            "score": scores.ravel(),
            "start": np.array([part.start for part in parts] * count, int),
            "stop": np.array([part.stop for part in parts] * count, int),
            "own": np.array([part.own for part in parts] * count, bool),
            "explained": np.array([part.target for part in parts] * count, bool),
            "target": [names[row] for row in range(count) for _ in parts],
        }
    )
    made.attrs = {
        "model": explanation.model,
        "task": explanation.task,
        "method": explanation.method,
        "units": explanation.units,
        "foil": explanation.foil,
    }
    return made
