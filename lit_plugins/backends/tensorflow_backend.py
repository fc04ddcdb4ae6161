"""The TensorFlow backend: Keras models running on TensorFlow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


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

    def score_and_grad(self, score: Callable[[Any], Any], features: Any) -> tuple[Any, Any]:
        """See Backend."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(features)
            scores = score(features)
        # A gather's gradient comes as IndexedSlices.
        return scores, tf.convert_to_tensor(tape.gradient(scores, features))

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
