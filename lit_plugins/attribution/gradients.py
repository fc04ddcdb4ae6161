"""Gradients at the input: one forward pass, and one backward pass a number explained."""

from __future__ import annotations

import torch

from lit_plugins.attribution.case import Case, Scores
from lit_plugins.attribution.options import Options


def norm(order: int):
    """Length of the gradient at each position; order 1 or 2."""

    def scores(case: Case, options: Options) -> Scores:
        def length(gradient: torch.Tensor, _: slice) -> torch.Tensor:
            return case.collapse(
                gradient, lambda values, dim: torch.linalg.vector_norm(values, order, dim=dim)
            )

        value, reduced = case.at_input(length)
        return Scores(reduced.transpose(0, 1), value)

    return scores


def dot_input(case: Case, options: Options) -> Scores:
    """Gradient times input, summed over what is no position."""

    def product(gradient: torch.Tensor, part: slice) -> torch.Tensor:
        return case.collapse(gradient * case.features[part], torch.sum)

    value, reduced = case.at_input(product)
    return Scores(reduced.transpose(0, 1), value)


l1, l2 = norm(1), norm(2)
