"""What a framework must be able to do for us: one file a framework, nothing else knows it.

Axes: `batch rows vocab` for logits, `batch tokens dim` for features.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lit_plugins.errors import SpecError

if TYPE_CHECKING:
    import torch

KERAS_BACKENDS = ("torch", "tensorflow")


class Recording(Protocol):
    """A forward pass whose gradients can be asked for, any number of times.

    It holds the activations of the pass until it is dropped.
    """

    parts: Any  # (n, parts), detached

    def pull(self, weights: torch.Tensor, last: bool = False) -> torch.Tensor:
        """Gradients (vectors, n, *axes) of `sum(weights[v] * parts)` for each vector v.

        `weights` is (vectors, n, parts). Vector-Jacobian products of one pass, batched where the
        framework can. `last`: the recording is not used any more, which saves memory.
        """
        ...


class Backend(Protocol):
    """The arithmetic on a framework's own arrays that an explanation needs."""

    name: str

    def asarray(self, values: np.ndarray, like: Any = None) -> Any:
        """The framework's array with these values, on the device of `like` if given."""
        ...

    def to_numpy(self, values: Any) -> np.ndarray:
        """A float32 (or integer) NumPy array with these values, detached and on the CPU."""
        ...

    def log_softmax(self, logits: Any) -> Any:
        """Log-probabilities in nats over the last axis, computed in float32 at least."""
        ...

    def pick(self, values: Any, index: np.ndarray) -> Any:
        """`values[..., index]`: (*axes, n) and integers (*axes,) -> (*axes,)."""
        ...

    def masked_sum(self, values: Any, mask: np.ndarray) -> Any:
        """The sum of `values * mask` over all axes but the first: (batch, *axes) -> (batch,)."""
        ...

    def concat(self, values: Sequence[Any], axis: int) -> Any:
        """The arrays put one behind the other along an axis; differentiable."""
        ...

    def top_others(self, logits: Any, index: np.ndarray) -> np.ndarray:
        """The index of the largest value over the last axis that is not at `index` itself."""
        ...

    def record(self, function: Callable[[Any], Any], features: Any) -> Recording:
        """One forward pass of `function`, (n, *axes) -> (n, parts), that can be pulled back.

        Rows of a batch do not see each other, so row i of a gradient is the gradient of
        row i. Parameters gather no gradient.
        """
        ...

    def to_torch(self, values: Any) -> torch.Tensor:
        """The same values as a torch tensor, detached; the very memory where that is torch's."""
        ...

    def from_torch(self, values: torch.Tensor, like: Any) -> Any:
        """The framework's array with a tensor's values, of the dtype of `like`."""
        ...

    def out_of_memory(self, error: BaseException) -> bool:
        """Whether a smaller batch may help; frees what can be freed if so."""
        ...

    def compiled(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """`step` of two integer or boolean arrays (batch, tokens), made fast for any sizes."""
        ...

    def no_grad(self) -> Any:
        """A context manager in which no graph for gradients is recorded."""
        ...


def keras_backend(wanted: str | None = None) -> str:
    """Settles which backend Keras runs on in this process and returns its name.

    Keras reads the choice once, at import: `wanted`, else the variable KERAS_BACKEND, else
    torch. Raises SpecError for a backend that we do not support, and when Keras is already
    imported with another one.
    """
    if "keras" in sys.modules:
        running = importlib.import_module("keras").backend.backend()
        if wanted and wanted != running:
            raise SpecError(
                f"Keras already runs on {running} in this process, not on {wanted}: start "
                f"another process with KERAS_BACKEND={wanted}."
            )
        wanted = running
    name = wanted or os.environ.get("KERAS_BACKEND") or "torch"
    if name not in KERAS_BACKENDS:
        raise SpecError(
            f"Keras backend {name!r} is not supported. Available: {', '.join(KERAS_BACKENDS)}. "
            "Set KERAS_BACKEND or --keras_backend."
        )
    os.environ["KERAS_BACKEND"] = name
    return name


def load_backend(name: str) -> Backend:
    """The backend of that name; imports its framework."""
    if name == "torch":
        from lit_plugins.backends.torch_backend import TorchBackend

        return TorchBackend()
    from lit_plugins.backends.tensorflow_backend import TensorFlowBackend

    return TensorFlowBackend()
