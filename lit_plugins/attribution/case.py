"""What is explained about a batch of examples, ready for any method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from lit_plugins.attribution.bridge import Reduce, Scorer
from lit_plugins.backends import Recording


@dataclass
class Case:
    """A function of features, the features, and what stands for "nothing there".

    Attributes:
        scorer: The outputs explained, at any features.
        features: (batch, *axes), float32 at least.
        baseline: The same of "nothing there", for the methods that have a baseline.
        held: (batch, positions), True where the input stays as it is: padding, scaffolding.
        players: For each example, the number of the segment that a position belongs to, -1 for
            none: (positions,). Perturbations take away or keep whole segments.
        axis: Which axis of an example's features is not a position: 1 of (tokens, dim), 0 of
            (channels, height, width).
        path: Of integrated gradients, if none is asked for: `straight` or `two_legs`.
        without: Outputs (n, outputs) of an example's text with segments deleted; its arguments are
            the example's row and what is kept, (n, segments). None where nothing can be deleted.
        recording: A pass of the examples that was kept, to be used again.
        keep_gradient: Whether `gradient` is filled in: one number an example is explained.
        gradient: Outputs and gradients at the examples themselves, which several methods look at.

    """

    scorer: Scorer
    features: torch.Tensor
    baseline: torch.Tensor | None = None
    held: torch.Tensor | None = None
    players: Sequence[np.ndarray] = ()
    axis: int = 1
    path: str = "straight"
    without: Callable[[int, torch.Tensor], torch.Tensor] | None = None
    recording: Recording | None = None
    keep_gradient: bool = False
    gradient: tuple[torch.Tensor, torch.Tensor] | None = None
    warnings: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    row_warnings: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    row_notes: defaultdict[int, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))

    def note(self, row: int, **found: Any) -> None:
        """What the method found about one example."""
        self.row_notes[row] |= found

    def warn(self, row: int, warning: str) -> None:
        """What to beware of in one example's scores."""
        self.row_warnings[row].append(warning)

    @property
    def rows(self) -> torch.Tensor:
        """One row number an example."""
        return torch.arange(len(self.features))

    @property
    def start(self) -> torch.Tensor:
        """The baseline, but the input itself where that is held: (batch, *axes)."""
        assert self.baseline is not None
        if self.held is None:
            return self.baseline
        return torch.where(self.spread(self.held), self.features, self.baseline)

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """Values (n, positions) as (n, *axes), the same along the axis that is no position."""
        axes = [size for at, size in enumerate(self.features.shape[1:]) if at != self.axis]
        return values.reshape(len(values), *axes).unsqueeze(self.axis + 1)

    def collapse(self, values: torch.Tensor, how: Callable[..., torch.Tensor]) -> torch.Tensor:
        """`how(values, dim)` over the axis that is no position: (…, *axes) -> (…, positions)."""
        own = self.features.ndim - 1
        return how(values, dim=values.ndim - own + self.axis).flatten(values.ndim - own)

    def at_input(self, reduce: Reduce) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs and reduced gradients at the examples themselves; see `Scorer.gradients`."""
        if not self.keep_gradient:
            return self._at_input(reduce)
        if self.gradient is None:
            self.gradient = self._at_input(lambda pulled, _: pulled)
        outputs, gradient = self.gradient
        return outputs, reduce(gradient, slice(0, len(self.features)))

    def _at_input(self, reduce: Reduce) -> tuple[torch.Tensor, torch.Tensor]:
        if self.recording is not None:
            return self.scorer.gradients_of(self.recording, reduce, self.features.shape[1:])
        return self.scorer.gradients(self.features, self.rows, reduce)


@dataclass
class Scores:
    """What a method computes: per position for gradients, per segment for perturbations.

    `scores` (batch, outputs, positions or segments); `value` and `baseline_value` (batch, outputs).
    """

    scores: torch.Tensor
    value: torch.Tensor
    baseline_value: torch.Tensor | None = None
