"""What number is explained: a task turns a model's output into one score per example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lit_plugins.backends import Backend
    from lit_plugins.models.language_model import Batch


class Task(Protocol):
    """The one number explained, per example."""

    def score(self, logits: Any, batch: Any, backend: Backend) -> Any:
        """Scores (batch,), differentiable in the features that gave the logits."""
        ...


class CausalLM:
    """The log-probability of the target tokens, in nats, summed over the target mask.

    `sum_t mask[t] * log p(token[t] | tokens before t)`. A positive attribution means that the
    input makes the target more likely.
    """

    def score(self, logits: Any, batch: Batch, backend: Backend) -> Any:
        """Logits (batch, rows, vocab) -> scores (batch,), in nats."""
        log_probabilities = backend.pick(backend.log_softmax(logits), batch.targets)
        return backend.masked_sum(log_probabilities, batch.target_mask)
