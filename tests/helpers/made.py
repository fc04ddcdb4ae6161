"""Explanations made by hand, for what shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lit_plugins.attribution.explanation import Explanation, Segment
from lit_plugins.attribution.options import Options

# What must be text wherever it is shown.
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}</style></title>"


def explanation(texts: Sequence[str], scores: Any, **changes: Any) -> Explanation:
    """An explanation of these parts, a token each: scores (parts,) or (targets, parts)."""
    scores = np.asarray(scores, np.float32)
    targets = tuple(range(len(scores))) if scores.ndim == 2 else (0,)
    fields: dict[str, Any] = {
        "method": "integrated_gradients",
        "options": Options(each=scores.ndim == 2),
        "tokens": tuple(_with_marks(text) for text in texts),
        "segments": tuple(Segment(place, place + 1, text) for place, text in enumerate(texts)),
        "scores": scores,
        "targets": targets,
        "signed": True,
        "units": "nats",
        "value": np.full(scores.shape[:-1], -0.25),
        "names": tuple(f"LABEL_{target}" for target in targets),
        "own": (True,) * len(texts),
        "model": "hf:packaged:sentiment",
        "task": "text-classification",
        "versions": {"torch": "2.13.0"},
    }
    return Explanation(**(fields | changes))


def random(texts: Sequence[str], targets: int | None = None, **changes: Any) -> Explanation:
    """The same with scores that are always the same random ones."""
    shape = (len(texts),) if targets is None else (targets, len(texts))
    scores = np.random.default_rng(5).normal(size=shape)
    return explanation(texts, scores, **changes)


def hostile() -> Explanation:
    """One whose every text is HOSTILE."""
    return explanation(
        ["[CLS]", HOSTILE, f" {HOSTILE}", " end"],
        [0.5, 1.0, -1.0, 0.25],
        method=HOSTILE,
        options=Options(foil=HOSTILE, baseline_text=HOSTILE, baseline="text"),
        units=HOSTILE,
        names=(HOSTILE,),
        warnings=(HOSTILE,),
        notes={HOSTILE: HOSTILE},
        own=(False, True, True, True),
        places=(2,),
        inputs={HOSTILE: HOSTILE},
        model=HOSTILE,
        task=HOSTILE,
        versions={HOSTILE: HOSTILE},
    )


# What text may hold that is hard to show.
ODD = [
    "I",
    " ❤️",
    " 👩‍👩‍👧",
    " fam",
    "",
    "ily",
    " e\u0301te\u0301",
    " $x^2$",
    " $",
    "\n",
    " 中文",
    "字符",
    "\t",
    " \x00\x1b\x7f\x85",
    "\ud83d",
    "\ufffe",
    "\u202e",
    " <b>",
    "&amp;",
    " \\frac{1}{2}",
    "\r\n",
    "ـــ",
]
ARABIC = ["كا", "ن", " ال", "فيلم", " جم", "يلاً", " Netflix", " 2024", " سي", "ئة", "."]


def _with_marks(text: str) -> str:
    spaces = len(text) - len(text.lstrip(" "))
    return "▁" * spaces + text[spaces:]
