"""METHODS: one row a method. What is listed here works for every model, and appears in LIT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lit_plugins.tasks import Task


@dataclass(frozen=True)
class Method:
    """A way to give each input token a score.

    `scores` maps features and the gradient of the explained score, both
    (batch, tokens, dim), to (batch, tokens). `signed` says whether a negative score means
    "against the target"; unsigned scores say only how much, not in which direction.
    """

    name: str
    scores: Callable[[np.ndarray, np.ndarray], np.ndarray]
    signed: bool
    units: str
    description: str


def _l2(features: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    return np.linalg.norm(gradient, axis=-1)


def _dot_input(features: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    return np.einsum("btd,btd->bt", features, gradient)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "grad_l2",
            _l2,
            signed=False,
            units="nats per unit of embedding",
            description=(
                "Euclidean norm of the gradient at each token's embedding: how much the score "
                "moves if the token's embedding moves (Simonyan et al. 2014, arXiv 1312.6034)."
            ),
        ),
        Method(
            "grad_dot_input",
            _dot_input,
            signed=True,
            units="nats",
            description=(
                "Gradient times embedding, summed over dimensions: the first-order effect of "
                "scaling a token's embedding to zero (Shrikumar et al. 2017, arXiv 1704.02685, "
                "section 2). Positive: the token supports the target."
            ),
        ),
    )
}


def score_and_gradient(model: Any, task: Task, batch: Any) -> tuple[np.ndarray, ...]:
    """One forward and one backward pass.

    Returns the scores (batch,), the features and the gradient (batch, tokens, dim) as NumPy
    arrays. Padding has the gradient zero, because nothing attends to it.
    """
    backend = model.backend
    features = model.features(batch)
    scores, gradient = backend.score_and_grad(
        lambda moved: task.score(model.logits(moved, batch), batch, backend), features
    )
    return tuple(backend.to_numpy(value) for value in (scores, features, gradient))
