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
    """A straight path to a case's features from `start`, both (batch, *axes).

    Points on it are given by their examples' rows and their places, 0 to 1: (n,).
    """

    def __init__(self, case: Case, start: torch.Tensor):
        self._case = case
        self._start = start
        self._difference = case.features - start

    def everywhere(self, places: Sequence[float]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows and places of every example at each of the places: example by example."""
        rows = self._case.rows.repeat_interleave(len(places))
        return rows, torch.as_tensor(list(places), dtype=torch.float64).repeat(len(self._start))

    def values(self, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Outputs (n, outputs), forward passes only."""
        made = [
            self._case.scorer.outputs(self._points(rows[few], places[few]), rows[few])
            for few in self._few(len(rows))
        ]
        return torch.cat(made)

    def slopes(self, rows: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs (n, outputs), and slopes (n, outputs, positions).

        A slope is gradient times difference, summed over what is no position: the derivative of
        the output by the place on the path, taken apart by positions.
        """
        values, slopes = [], []
        for few in self._few(len(rows)):
            own = rows[few]

            def product(gradient: torch.Tensor, part: slice, own: torch.Tensor = own):
                return self._case.collapse(gradient * self._difference[own[part]], torch.sum)

            made, reduced = self._case.scorer.gradients(
                self._points(own, places[few]), own, product
            )
            values.append(made)
            slopes.append(reduced.transpose(0, 1))
        return torch.cat(values), torch.cat(slopes)

    def _few(self, count: int) -> list[slice]:
        """So many at a time that their points are no more than a pass takes."""
        size = self._case.scorer.points_per_pass
        return [slice(first, first + size) for first in range(0, count, size)]

    def _points(self, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        at = places.to(self._start).reshape(-1, *[1] * (self._start.ndim - 1))
        return self._start[rows] + at * self._difference[rows]


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
        total, begin, end = _adapted(case, path, options)
    else:
        case.notes["rule"] = rule
        total = _summed(case, path, *quadrature.RULES[rule](int(options.steps or 0)))
        begin, end = path.values(*path.everywhere([0.0, 1.0])).unflatten(0, (-1, 2)).unbind(1)
    base = begin
    if two_legs:
        base = case.scorer.outputs(baseline, case.rows)
        total[..., 0] = begin - base
    return Scores(total, end, base)


def _summed(case: Case, path: Path, places: np.ndarray, weights: np.ndarray) -> torch.Tensor:
    total = torch.zeros(())
    size = max(1, case.scorer.points_per_pass)
    for first in range(0, len(places), size):
        few = places[first : first + size].tolist()
        _, slopes = path.slopes(*path.everywhere(few))
        part = torch.as_tensor(weights[first : first + size]).to(slopes.device)
        each = slopes.unflatten(0, (-1, len(few))).double()
        total = total + torch.einsum("s,bsop->bop", part, each)
    return total


def _adapted(
    case: Case, path: Path, options: Options
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As many points as the tolerance takes, or until there are `max_steps`, for each example.

    The scores, and the outputs (batch, outputs) at the path's begin and end. All examples that are
    not done yet go through the model together, round by round.
    """
    most, tolerance = options.max_steps or 100, options.tolerance or 0.01
    power = 3 if options.baseline == "zero" else 1
    running = {row: quadrature.adapt(tolerance, most, power) for row in case.rows.tolist()}
    asked = {row: next(one) for row, one in running.items()}
    seen: dict[int, dict[float, torch.Tensor]] = {row: {} for row in running}
    found: dict[int, quadrature.Adapted] = {}
    ends: dict[int, torch.Tensor] = {}
    while asked:
        rows = [row for row, places in asked.items() for _ in places]
        places = np.concatenate(list(asked.values()))
        values, slopes = path.slopes(torch.tensor(rows), torch.as_tensor(places))
        slopes = slopes.double()
        sums, first = slopes.sum(-1).cpu().numpy(), 0
        for row, own in list(asked.items()):
            part = slice(first, first + len(own))
            seen[row] |= dict(zip(own.tolist(), slopes[part], strict=True))
            ends.setdefault(row, values[part][[0, -1]])  # the first round has both
            first += len(own)
            try:
                made = values[part].double().cpu().numpy()
                asked[row] = running[row].send((made, sums[part]))
            except StopIteration as done:
                found[row] = done.value
                del asked[row]
    order = sorted(found)
    total = torch.stack([_total(case, options, row, found[row], seen[row]) for row in order])
    begin, end = torch.stack([ends[row] for row in order]).unbind(1)
    return total, begin, end


def _total(
    case: Case,
    options: Options,
    row: int,
    found: quadrature.Adapted,
    seen: dict[float, torch.Tensor],
) -> torch.Tensor:
    """An example's scores (outputs, positions), from the slopes at its nodes."""
    case.note(
        row,
        steps=len(found.places),
        converged=found.converged,
        panel_error=found.panel_error,
    )
    if not found.converged:
        rough = found.panel_error > ROUGH
        case.warn(
            row,
            f"Stopped at {len(found.places)} steps: between them, {found.panel_error:.0%} of the "
            f"difference is missed, up or down. "
            + (
                "The score swings along the path, so single scores may be off although their sum "
                "is right. Take another baseline, or leave_one_out, which has no path; or raise "
                "max_steps."
                if rough
                else f"Raise max_steps, or the tolerance of {options.tolerance or 0.01:.0%}."
            ),
        )
    counts = found.weights != 0  # a gradient may be infinite where it weighs nothing
    slopes = torch.stack([seen[place] for place in found.places[counts].tolist()])
    return torch.einsum("s,sop->op", torch.as_tensor(found.weights[counts]).to(slopes), slopes)
