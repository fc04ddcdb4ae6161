"""Points on the path from baseline (0) to input (1), and their weights.

Integrated gradients is an integral over the path (Sundararajan et al. 2017, arXiv 1703.01365,
eq. 1); these are the rules that approximate it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Nodes = tuple[np.ndarray, np.ndarray]  # places in [0, 1], and weights


def gauss_legendre(steps: int) -> Nodes:
    """Exact for polynomials up to degree 2 steps - 1."""
    places, weights = np.polynomial.legendre.leggauss(steps)
    return (places + 1) / 2, weights / 2


def riemann_left(steps: int) -> Nodes:
    """Captum's: the left end of each of `steps` intervals."""
    return np.arange(steps) / steps, np.full(steps, 1 / steps)


def riemann_right(steps: int) -> Nodes:
    """The right end of each interval."""
    return np.arange(1, steps + 1) / steps, np.full(steps, 1 / steps)


def riemann_middle(steps: int) -> Nodes:
    """The middle of each interval."""
    return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)


def riemann_trapezoid(steps: int) -> Nodes:
    """Captum's: `steps` points, both ends among them, the ends weighed half."""
    if steps == 1:
        return np.zeros(1), np.ones(1)
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, steps), weights


RULES: dict[str, Callable[[int], Nodes]] = {
    rule.__name__: rule
    for rule in (gauss_legendre, riemann_left, riemann_right, riemann_middle, riemann_trapezoid)
}
