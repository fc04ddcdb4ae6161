"""Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365).

On language models with RMS norms the straight path from a baseline is rough: while the first
position, on which attention rests, is small, the score swings by many times the difference
explained, and no number of steps converges. So there is a second path (a path method, section 4
of the paper): first the first position moves alone, whose share is then a difference of two scores
and needs no integral, and then all others move together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lit_plugins.attribution import quadrature
from lit_plugins.attribution.case import Case, Scores
from lit_plugins.attribution.options import Options
from lit_plugins.errors import InputError

# Above this share of the difference, what the panels between the points miss is worth a warning.
ROUGH = 0.2


class Path:
    """A straight path to a case's features from `start`, both (batch, *axes)."""

    def __init__(self, case: Case, start: torch.Tensor):
        self._case = case
        self._start = start
        self._difference = case.features - start

    def values(self, places: Sequence[float]) -> torch.Tensor:
        """Outputs (places, batch, outputs), forward passes only."""
        made = []
        for few in self._few(places):
            outputs = self._case.scorer.outputs(self._points(few), self._rows(few))
            made.append(outputs.unflatten(0, (len(few), -1)))
        return torch.cat(made)

    def slopes(self, places: Sequence[float]) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs (places, batch, outputs), and slopes (places, batch, outputs, positions).

        A slope is gradient times difference, summed over what is no position: the derivative of
        the output by the place on the path, taken apart by positions.
        """
        values, slopes = [], []
        for few in self._few(places):
            rows = self._rows(few)

            def product(gradient: torch.Tensor, part: slice, rows: torch.Tensor = rows):
                return self._case.collapse(gradient * self._difference[rows[part]], torch.sum)

            made, reduced = self._case.scorer.gradients(self._points(few), rows, product)
            values.append(made.unflatten(0, (len(few), -1)))
            slopes.append(reduced.unflatten(1, (len(few), -1)).permute(1, 2, 0, 3))
        return torch.cat(values), torch.cat(slopes)

    def _few(self, places: Sequence[float]) -> list[Sequence[float]]:
        """So many at a time that their points are no more than a pass takes."""
        size = max(1, self._case.scorer.points_per_pass // len(self._difference))
        return [places[first : first + size] for first in range(0, len(places), size)]

    def _points(self, places: Sequence[float]) -> torch.Tensor:
        return torch.cat([self._start + float(place) * self._difference for place in places])

    def _rows(self, places: Sequence[float]) -> torch.Tensor:
        return self._case.rows.repeat(len(places))


def integrated_gradients(case: Case, options: Options) -> Scores:
    """The gradient's mean over the path, times input minus baseline."""
    baseline = case.start
    two_legs = (options.path or case.path) == "two_legs"
    if two_legs and case.axis != 1:
        raise InputError("path=two_legs is for texts, whose first position is apart.")
    start = baseline
    if two_legs:
        start = baseline.clone()
        start[:, 0] = case.features[:, 0]
    two_legs = not torch.equal(start, baseline)  # unless the first position is held anyway
    case.notes["path"] = "two_legs" if two_legs else "straight"
    path = Path(case, start)
    rule = options.rule or (
        "gauss_legendre_cubed" if options.baseline == "zero" else "gauss_legendre"
    )
    if options.steps == "auto":
        total = _adapted(case, path, options)
    else:
        case.notes["rule"] = rule
        total = _summed(case, path, *quadrature.RULES[rule](int(options.steps or 0)))
    ends = path.values([0.0, 1.0])
    base = ends[0]
    if two_legs:
        base = case.scorer.outputs(baseline, case.rows)
        total[..., 0] = ends[0] - base
    return Scores(total, ends[1], base)


def _summed(case: Case, path: Path, places: np.ndarray, weights: np.ndarray) -> torch.Tensor:
    total = torch.zeros(())
    size = max(1, case.scorer.points_per_pass)
    for first in range(0, len(places), size):
        _, slopes = path.slopes(places[first : first + size].tolist())
        part = torch.as_tensor(weights[first : first + size]).to(slopes.device)
        total = total + torch.einsum("s,sbop->bop", part, slopes.double())
    return total


def _adapted(case: Case, path: Path, options: Options) -> torch.Tensor:
    """As many points as the tolerance takes, or until there are `max_steps`; one example."""
    if len(case.features) != 1:
        raise InputError(
            f"steps=auto takes one example at a time, not {len(case.features)}: points differ."
        )
    seen: dict[float, torch.Tensor] = {}

    def evaluate(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, slopes = path.slopes(places.tolist())
        seen.update(zip(places.tolist(), slopes[:, 0].double(), strict=True))
        sums = slopes[:, 0].double().sum(-1)
        return values[:, 0].double().cpu().numpy(), sums.cpu().numpy()

    most, tolerance = options.max_steps or 100, options.tolerance or 0.01
    power = 3 if options.baseline == "zero" else 1
    found = quadrature.adapt(evaluate, tolerance, most, power)
    case.notes |= {
        "steps": len(found.places),
        "converged": found.converged,
        "panel_error": found.panel_error,
    }
    if not found.converged:
        rough = found.panel_error > ROUGH
        case.warnings.append(
            f"Stopped at {len(found.places)} steps: between them, {found.panel_error:.0%} of the "
            f"difference is missed, up or down. "
            + (
                "The score swings along the path, so single scores may be off although their sum "
                "is right. Take another baseline, or leave_one_out, which has no path; or raise "
                "max_steps."
                if rough
                else f"Raise max_steps, or the tolerance of {tolerance:.0%}."
            )
        )
    counts = found.weights != 0  # a gradient may be infinite where it weighs nothing
    slopes = torch.stack([seen[place] for place in found.places[counts].tolist()])
    return torch.einsum("s,sop->op", torch.as_tensor(found.weights[counts]).to(slopes), slopes)[
        None
    ]
