"""Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lit_plugins.attribution import quadrature
from lit_plugins.attribution.case import Case, Scores
from lit_plugins.attribution.options import Options


class Path:
    """The straight path of a case from its baseline to its input.

    The slopes are products of gradient and input minus baseline, summed over what is no position:
    what a point of the path adds to the integral.
    """

    def __init__(self, case: Case):
        self._case = case
        self._start = case.start
        self._difference = case.features - self._start

    def values(self, places: Sequence[float]) -> torch.Tensor:
        """Outputs (places, batch, outputs), forward passes only."""
        return torch.cat(
            [
                self._case.scorer.outputs(self._points(few), self._rows(few)).unflatten(
                    0, (len(few), -1)
                )
                for few in self._few(places)
            ]
        )

    def slopes(self, places: Sequence[float]) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs (places, batch, outputs), and slopes (places, batch, outputs, positions)."""
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
    path = Path(case)
    ends = path.values([0.0, 1.0])
    places, weights = quadrature.RULES[options.rule or ""](int(options.steps or 0))
    total = torch.zeros(())
    size = max(1, case.scorer.points_per_pass)
    for first in range(0, len(places), size):
        _, slopes = path.slopes(places[first : first + size].tolist())
        part = torch.as_tensor(weights[first : first + size]).to(slopes.device)
        total = total + torch.einsum("s,sbop->bop", part, slopes.double())
    return Scores(total, ends[1], ends[0])
