"""The torch backend: Hugging Face models, and Keras models running on torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

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

    def concat(self, values: Sequence[torch.Tensor], axis: int) -> torch.Tensor:
        """See Backend."""
        return torch.cat(list(values), dim=axis)

    def top_others(self, logits: torch.Tensor, index: np.ndarray) -> np.ndarray:
        """See Backend."""
        best = logits.detach().topk(2, dim=-1).indices
        own = self.asarray(index.astype(np.int64), like=logits)
        return torch.where(best[..., 0] == own, best[..., 1], best[..., 0]).cpu().numpy()

    def record(
        self, function: Callable[[torch.Tensor], torch.Tensor], features: torch.Tensor
    ) -> TorchRecording:
        """See Backend."""
        return TorchRecording(function, features)

    def to_torch(self, values: torch.Tensor) -> torch.Tensor:
        """See Backend."""
        return values.detach()

    def from_torch(self, values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """See Backend."""
        return values.to(like.device, like.dtype)

    def out_of_memory(self, error: BaseException) -> bool:
        """See Backend."""
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or (
            isinstance(error, RuntimeError) and "allocate memory" in str(error)
        ):
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            return True
        return False

    def compiled(self, step: Callable) -> Callable:
        """See Backend."""
        return torch.no_grad()(step)

    def no_grad(self):
        """See Backend."""
        return torch.no_grad()


class TorchRecording:
    """See `lit_plugins.backends.Recording`."""

    def __init__(self, function: Callable, features: torch.Tensor):
        with torch.enable_grad():
            self._leaf = features.detach().requires_grad_(True)
            self._made = function(self._leaf)
        self.parts = self._made.detach()

    def pull(self, weights: torch.Tensor, last: bool = False) -> torch.Tensor:
        """See Recording."""
        weights = weights.to(self._made)
        if len(weights) == 1:
            return self._gradient(weights[0], retain_graph=not last)[None]
        with warnings.catch_warnings():
            # torch says that it has no batched kernel for some operation, and loops over it.
            warnings.simplefilter("ignore", UserWarning)
            try:
                return self._gradient(weights, retain_graph=not last, is_grads_batched=True)
            except (NotImplementedError, RuntimeError) as error:
                if "vmap" not in str(error) and "batching rule" not in str(error):
                    raise
        # An operation that cannot be batched at all: one vector at a time.
        return torch.stack([self._gradient(one, retain_graph=True) for one in weights])

    def _gradient(self, weights: torch.Tensor, **options: bool) -> torch.Tensor:
        (gradient,) = torch.autograd.grad(self._made, self._leaf, weights, **options)
        return gradient.detach()
