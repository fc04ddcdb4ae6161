"""The plain gradient of a batch, for tests that look at models rather than at methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lit_plugins.attribution.bridge import Branch, Scorer


def score_and_gradient(model: Any, task: Any, batch: Any) -> tuple[np.ndarray, ...]:
    """Scores (batch,), features and gradient (batch, tokens, dim)."""
    scorer = Scorer(model, task, [Branch(batch)], points_per_pass=64)
    features = scorer.features()
    outputs, gradient = scorer.gradients(
        features, torch.arange(len(features)), lambda pulled, _: pulled
    )
    return outputs[:, 0].numpy(), features.numpy(), gradient[0].numpy()


# The two methods of one pass, by hand.
SCORES = {
    "grad_l2": lambda features, gradient: np.linalg.norm(gradient, axis=-1),
    "grad_dot_input": lambda features, gradient: np.einsum("btd,btd->bt", features, gradient),
}
