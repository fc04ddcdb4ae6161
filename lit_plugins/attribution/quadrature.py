"""Points on the path from baseline (0) to input (1), and their weights.

Integrated gradients is an integral over the path (Sundararajan et al. 2017, arXiv 1703.01365,
eq. 1); these are the rules that approximate it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

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
    """`steps` points, both ends among them, the ends weighed half.

    The points are Captum's; its weights sum to (steps - 1) / steps.
    """
    if steps == 1:
        return np.zeros(1), np.ones(1)
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, steps), weights


def gauss_legendre_cubed(steps: int) -> Nodes:
    """Gauss-Legendre in the cube root of the place, so that points cluster at the baseline.

    An RMS norm takes the scale of its input away, so that next to a zero baseline a small step
    changes much.
    """
    places, weights = gauss_legendre(steps)
    return places**3, 3 * places**2 * weights


RULES: dict[str, Callable[[int], Nodes]] = {
    rule.__name__: rule
    for rule in (
        gauss_legendre,
        gauss_legendre_cubed,
        riemann_left,
        riemann_right,
        riemann_middle,
        riemann_trapezoid,
    )
}


@dataclass(frozen=True)
class Adapted:
    """What `adapt` found: nodes, their weights, and how well they do.

    `error` is |sum over panels| and `panel_error` the sum of |panel| of what the quadrature misses
    of the function's change, both as shares of its change from 0 to 1. Only the second cannot be
    small by chance.
    """

    places: np.ndarray
    weights: np.ndarray
    error: float
    panel_error: float
    converged: bool


# Where panels between two nodes miss much, others with the opposite sign may hide it.
PANEL_TOLERANCE = 5.0  # times the tolerance
FIRST_NODES = 9
NODES_A_ROUND = 4


def adapt(
    tolerance: float, most: int, power: int = 1
) -> Generator[np.ndarray, tuple[np.ndarray, np.ndarray], Adapted]:
    """Nodes where a function changes: each one shows where the next are needed.

    The function's values at two nodes say exactly what the integral of its slope between them must
    be, so the error of each panel is known, and those with the largest are halved. Nodes are used
    again; cubics through the four nearest of them give the weights. It works in the variable
    t = place ** (1 / power).

    A generator, so that the nodes of many functions can be computed together: it yields places, and
    is sent their values (places, outputs) and slopes (places, outputs), the derivative of the
    values by the place.

    Args:
        tolerance: Of |error|, as a share of the change; panels' errors may be PANEL_TOLERANCE times
            as large in sum.
        most: Nodes to give up at.
        power: 3 for a zero baseline, where most happens next to it; 1 elsewhere.

    """
    t = np.linspace(0, 1, max(3, min(FIRST_NODES, most)))
    values, slopes = yield t**power
    while True:
        scale = (power * t ** (power - 1))[:, None]
        # At a zero baseline a gradient may be infinite; what it weighs is nothing there.
        inner = np.where(scale == 0, 0.0, slopes) * scale
        weights, error, panels = _weigh(t, values, inner, _cubic_panels)
        change = np.abs(values[-1] - values[0]).sum()
        change = change if change > 0 else 1.0
        converged = error <= tolerance * change and panels.sum() <= (
            PANEL_TOLERANCE * tolerance * change
        )
        room = min(NODES_A_ROUND, most - len(t))
        if converged or room <= 0:
            break
        worst = np.argsort(-np.nan_to_num(panels, nan=np.inf))[:room]
        worst = worst[~(panels[worst] <= np.nanmax(panels) / 20)]
        new = (t[worst] + t[worst + 1]) / 2
        more_values, more_slopes = yield new**power
        order = np.argsort(np.concatenate([t, new]))
        t = np.concatenate([t, new])[order]
        values = np.concatenate([values, more_values])[order]
        slopes = np.concatenate([slopes, more_slopes])[order]
    if not converged:
        # Cubics through nodes that do not resolve the function overshoot.
        straight = _weigh(t, values, inner, _straight_panels)
        if straight[2].sum() < panels.sum():
            weights, error, panels = straight
    return Adapted(
        t**power,
        weights * power * t ** (power - 1),
        float(error / change),
        float(panels.sum() / change),
        bool(converged),
    )


def _weigh(
    t: np.ndarray, values: np.ndarray, slopes: np.ndarray, panels: Callable
) -> tuple[np.ndarray, float, np.ndarray]:
    """Weights of the nodes; |error| summed over outputs; the same of each panel."""
    matrix = panels(t)
    missed = matrix @ slopes - np.diff(values, axis=0)
    return matrix.sum(0), float(np.abs(missed.sum(0)).sum()), np.abs(missed).sum(1)


def _straight_panels(t: np.ndarray) -> np.ndarray:
    """(panels, nodes): the trapezoid rule."""
    matrix = np.zeros((len(t) - 1, len(t)))
    panel = np.arange(len(t) - 1)
    matrix[panel, panel] = matrix[panel, panel + 1] = np.diff(t) / 2
    return matrix


def _cubic_panels(t: np.ndarray) -> np.ndarray:
    """(panels, nodes): weights of the nodes in the integral over a panel.

    Of the cubic through the panel's ends and the next node on either side; at the path's ends,
    through the four nodes there.
    """
    matrix = np.zeros((len(t) - 1, len(t)))
    width = min(4, len(t))
    points, halves = np.polynomial.legendre.leggauss(2)  # exact for cubics
    for panel in range(len(t) - 1):
        first = min(max(panel - 1, 0), len(t) - width)
        near = t[first : first + width]
        size = t[panel + 1] - t[panel]
        places = t[panel] + size * (points + 1) / 2
        for own in range(width):
            others = np.delete(near, own)
            lagrange = np.prod((places[:, None] - others) / (near[own] - others), axis=1)
            matrix[panel, first + own] += float(halves @ lagrange) * size / 2
    return matrix
