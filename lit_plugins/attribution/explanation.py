"""The answer: what every method returns, immutable, with what a careful reader needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from lit_plugins.attribution.options import Options


@dataclass(frozen=True)
class Segment:
    """Tokens that share one score: `[start, stop)`, and the text they make."""

    start: int
    stop: int
    text: str


@dataclass(frozen=True, eq=False)
class Explanation:
    """Scores of the parts of one input, for one score of the model.

    Attributes:
        method: Its name in METHODS.
        options: All of them, defaults included.
        tokens: The input as the model sees it, target included, as shown to people.
        segments: What has a score, in the order of the text.
        scores: (segments,), or (targets, segments) with `each`. Read-only, always finite.
        targets: Places of the tokens explained, in `tokens`; numbers of the labels explained.
        names: What each of them is called.
        foil: What the target is compared with, as text; None without contrast.
        signed: Whether a negative score means "against the target".
        units: Of a score.
        value: The score explained at the input itself, () or (targets,), in the units of `output`.
        baseline_value: The same at the baseline, where the method has one.
        convergence_error: |sum of scores - (value - baseline_value)| as a share of
            |value - baseline_value|, for methods whose scores should sum to that; the largest of
            the targets.
        warnings: What to beware of, in plain words.
        forward, backward: Passes of one text each that the model did.
        seconds: Of wall-clock time.
        notes: What the method itself found, such as the steps that `auto` took.

    """

    method: str
    options: Options
    tokens: tuple[str, ...]
    segments: tuple[Segment, ...]
    scores: np.ndarray
    targets: tuple[int, ...]
    signed: bool
    units: str
    value: np.ndarray
    names: tuple[str, ...] = ()
    baseline_value: np.ndarray | None = None
    foil: str | None = None
    convergence_error: float | None = None
    warnings: tuple[str, ...] = ()
    forward: int = 0
    backward: int = 0
    seconds: float = 0.0
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("scores", "value", "baseline_value"):
            values = getattr(self, name)
            if values is not None:
                values = np.array(values)
                values.setflags(write=False)
                object.__setattr__(self, name, values)
        object.__setattr__(self, "notes", MappingProxyType(dict(self.notes)))

    def per_token(self) -> np.ndarray:
        """Scores (tokens,), or (targets, tokens): a segment's, spread evenly over its tokens.

        So sums over segments are the segments' scores again. Tokens of no segment have zero.
        """
        spread = np.zeros((*self.scores.shape[:-1], len(self.tokens)), self.scores.dtype)
        for place, segment in enumerate(self.segments):
            share = self.scores[..., place] / (segment.stop - segment.start)
            spread[..., segment.start : segment.stop] = share[..., None]
        return spread

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k segments of the largest absolute score, summed over targets, largest first."""
        totals = self.scores if self.scores.ndim == 1 else self.scores.sum(0)
        order = np.argsort(-np.abs(totals), kind="stable")[:k]
        return [(self.segments[place].text, float(totals[place])) for place in order]
