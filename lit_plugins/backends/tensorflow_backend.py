"""The TensorFlow backend: Keras models running on TensorFlow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import torch


class TensorFlowBackend:
    """See `lit_plugins.backends.Backend`."""

    name = "tensorflow"

    def asarray(self, values: np.ndarray, like: Any = None) -> Any:
        """See Backend."""
        return tf.convert_to_tensor(values)

    def to_numpy(self, values: Any) -> np.ndarray:
        """See Backend."""
        values = tf.convert_to_tensor(values)
        return (tf.cast(values, tf.float32) if values.dtype.is_floating else values).numpy()

    def log_softmax(self, logits: Any) -> Any:
        """See Backend."""
        if logits.dtype.size < tf.float32.size:
            logits = tf.cast(logits, tf.float32)
        return tf.nn.log_softmax(logits)

    def pick(self, values: Any, index: np.ndarray) -> Any:
        """See Backend."""
        return tf.gather(values, tf.cast(index, tf.int32), batch_dims=index.ndim)

    def masked_sum(self, values: Any, mask: np.ndarray) -> Any:
        """See Backend."""
        weights = tf.cast(mask, values.dtype)
        # A masked-out value may be infinite (log 0), and 0 * inf is not a number.
        kept = tf.where(weights != 0, values * weights, tf.zeros_like(values))
        return tf.reduce_sum(tf.reshape(kept, (tf.shape(kept)[0], -1)), axis=1)

    def concat(self, values: Sequence[Any], axis: int) -> Any:
        """See Backend."""
        return tf.concat(list(values), axis=axis)

    def top_others(self, logits: Any, index: np.ndarray) -> np.ndarray:
        """See Backend."""
        best = tf.math.top_k(logits, k=2).indices.numpy()
        return np.where(best[..., 0] == index, best[..., 1], best[..., 0])

    def record(self, function: Callable[[Any], Any], features: Any) -> TensorFlowRecording:
        """See Backend."""
        return TensorFlowRecording(function, features)

    def to_torch(self, values: Any) -> torch.Tensor:
        """See Backend."""
        return torch.tensor(self.to_numpy(values))

    def from_torch(self, values: torch.Tensor, like: Any) -> Any:
        """See Backend."""
        return tf.cast(tf.convert_to_tensor(values.detach().cpu().numpy()), like.dtype)

    def out_of_memory(self, error: BaseException) -> bool:
        """See Backend."""
        return isinstance(error, MemoryError | tf.errors.ResourceExhaustedError)

    def compiled(self, step: Callable) -> Callable:
        """See Backend.

        One trace for all sizes. XLA would compile anew for each, 20 s a time for Gemma 3 270M.
        """
        sizes = (None, None)
        signature = (tf.TensorSpec(sizes, tf.int32), tf.TensorSpec(sizes, tf.bool))
        return tf.function(step, input_signature=signature, jit_compile=False)

    def no_grad(self):
        """See Backend."""
        return contextlib.nullcontext()


class TensorFlowRecording:
    """See `lit_plugins.backends.Recording`."""

    def __init__(self, function: Callable, features: Any):
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(features)
            self._made = function(features)
        self._tape: Any = tape
        self._features = features
        self.parts = self._made

    def pull(self, weights: torch.Tensor, last: bool = False) -> torch.Tensor:
        """See Recording."""
        weights_here = tf.cast(weights.detach().cpu().numpy(), self._made.dtype)
        gradients = [
            # A gather's gradient comes as IndexedSlices.
            tf.convert_to_tensor(
                self._tape.gradient(self._made, self._features, output_gradients=one)
            ).numpy()
            for one in weights_here
        ]
        return torch.tensor(np.stack(gradients).astype(np.float32, copy=False))
