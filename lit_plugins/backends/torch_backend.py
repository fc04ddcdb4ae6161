"""The torch backend: Hugging Face models, and Keras models running on torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch


class TorchBackend:
    """See `lit_plugins.backends.Backend`."""

    name = "torch"

    def asarray(self, values: np.ndarray, like: torch.Tensor | None = None) -> torch.Tensor:
        """See Backend."""
        return torch.as_tensor(values, device=None if like is None else like.device)

    def to_numpy(self, values: torch.Tensor) -> np.ndarray:
        """See Backend."""
        values = values.detach()
        return (values.float() if values.is_floating_point() else values).cpu().numpy()

    def log_softmax(self, logits: torch.Tensor) -> torch.Tensor:
        """See Backend."""
        return torch.log_softmax(
            logits, dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32)
        )

    def pick(self, values: torch.Tensor, index: np.ndarray) -> torch.Tensor:
        """See Backend."""
        where = self.asarray(index.astype(np.int64), like=values)
        return values.gather(-1, where.unsqueeze(-1)).squeeze(-1)

    def masked_sum(self, values: torch.Tensor, mask: np.ndarray) -> torch.Tensor:
        """See Backend."""
        weights = self.asarray(mask, like=values).to(values.dtype)
        # A masked-out value may be infinite (log 0), and 0 * inf is not a number.
        return torch.where(weights != 0, values * weights, 0).flatten(1).sum(1)

    def score_and_grad(
        self, score: Callable[[torch.Tensor], torch.Tensor], features: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See Backend."""
        with torch.enable_grad():
            leaf = features.detach().requires_grad_(True)
            scores = score(leaf)
            (gradient,) = torch.autograd.grad(scores.sum(), leaf)
        return scores.detach(), gradient

    def compiled(self, step: Callable) -> Callable:
        """See Backend."""
        return torch.no_grad()(step)

    def no_grad(self):
        """See Backend."""
        return torch.no_grad()
