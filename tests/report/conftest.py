"""Explanations made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lit_plugins.attribution.explanation import Explanation, Segment
from lit_plugins.attribution.options import Options

SPECIAL = ("[CLS]", "[SEP]")


def explained(
    parts,
    name="GOOD",
    value=-0.1,
    *,
    method="leave_one_out",
    model="model",
    task="text-classification",
    signed=True,
    inputs=None,
    names=None,
    known=True,
    **more,
):
    """An Explanation of `(text, score)` pairs; score None for none, a list for one a target.

    Texts in SPECIAL are not the user's own. Each part is one token.
    """
    options = {"output": more.pop("output", "logprob"), **more.pop("options", {})}
    columns = [score for _, score in parts if score is not None]
    matrix = bool(columns) and isinstance(columns[0], list)
    scores = np.array(columns, np.float32)
    names = (name,) if names is None else tuple(names)
    text = "".join(text for text, _ in parts if text not in SPECIAL)
    return Explanation(
        method=method,
        options=Options(**options, each=matrix),
        tokens=tuple(text.replace(" ", "▁") for text, _ in parts),
        segments=tuple(
            Segment(place, place + 1, text)
            for place, (text, score) in enumerate(parts)
            if score is not None
        ),
        scores=scores.T if matrix else scores,
        targets=tuple(range(len(names))),
        signed=signed,
        units="nats" if signed else "nats, no sign",
        value=np.asarray(value, float),
        names=names,
        own=tuple(text not in SPECIAL for text, _ in parts) if known else (),
        inputs={"text": text} if inputs is None else inputs,
        model=model,
        task=task,
        versions={"lit-plugins": "0"},
        **more,
    )


@pytest.fixture(name="explained", scope="session")
def _explained():
    return explained
