"""What a careful reader should beware of, in plain words."""

from __future__ import annotations

import numpy as np

from lit_plugins.attribution.methods import Method
from lit_plugins.attribution.options import Options

NEARLY_ZERO = 1e-6
LARGE_ERROR = 0.05
SATURATED = 0.999


def convergence_error(
    method: Method, scores: np.ndarray, value: np.ndarray, baseline_value: np.ndarray | None
) -> float | None:
    """|sum of scores - difference| / |difference|, the largest of the targets.

    `scores` (outputs, segments), `value` and `baseline_value` (outputs,). None for a method whose
    scores should not sum to the difference, and where no output differs from that of the baseline.
    """
    if not method.additive or baseline_value is None:
        return None
    difference = value.astype(float) - baseline_value
    counts = np.abs(difference) > NEARLY_ZERO * np.maximum(np.abs(value), np.abs(baseline_value))
    if not counts.any():
        return None
    with np.errstate(invalid="ignore"):  # scores may be infinite
        missed = np.abs(scores.astype(float).sum(-1) - difference)
    return float((missed[counts] / np.abs(difference[counts])).max())


def warnings(
    method: Method,
    options: Options,
    scores: np.ndarray,
    value: np.ndarray,
    baseline_value: np.ndarray | None,
    error: float | None,
) -> list[str]:
    """Sentences about scores (outputs, segments) that may mislead; `scores` may be infinite."""
    found = []
    finite = np.isfinite(scores)
    if not finite.all():
        found.append(
            f"{int((~finite).sum())} of {scores.size} scores are not finite numbers and are shown "
            "as 0: the model overflows in its backward pass. Load it with dtype=float32."
        )
    largest = float(np.abs(scores[finite]).max()) if finite.any() else 0.0
    zero = NEARLY_ZERO * _scale(options, value)
    if scores.size and finite.any() and largest <= zero:
        found.append(_zero(method, options, value, baseline_value))
    if method.additive and baseline_value is not None and error is None and largest > zero:
        found.append(
            "The score at the baseline is that at the input, so there is no difference to explain: "
            "the scores cancel each other. Choose another baseline."
        )
    if error is not None and error > LARGE_ERROR:
        found.append(_error(method, options, error))
    if options.output == "prob" and value.size and bool((value > SATURATED).all()):
        found.append(
            f"The probability is {float(value.min()):.4f}, almost 1: it hardly moves whatever the "
            "input, so small scores do not mean that nothing matters. Take output=logprob or logit."
        )
    return found


def _scale(options: Options, value: np.ndarray) -> float:
    """What a score is large or small beside: a probability may itself be tiny."""
    largest = float(np.abs(value).max())
    return largest if options.output == "prob" else max(1.0, largest)


def _zero(
    method: Method, options: Options, value: np.ndarray, baseline_value: np.ndarray | None
) -> str:
    text = "All scores are (nearly) zero. "
    if baseline_value is not None and np.allclose(value, baseline_value, rtol=1e-6, atol=1e-9):
        return text + (
            "The score at the baseline is the same as at the input: the baseline equals the input, "
            "or what is explained does not depend on it. Choose another baseline, or check what is "
            "explained."
        )
    if options.output == "prob":
        return text + (
            f"The probability, {float(value.min()):.2g}, hardly moves whatever the input. Take "
            "output=logprob or logit."
        )
    if method.name == "lime":
        return text + "The regression found no effect: raise samples, or take larger segments."
    return text + (
        "What is explained does not depend on the input where it is explained, or the model's "
        "output is saturated there. Take another target, output=logit, or a method that takes "
        "segments away, such as feature_ablation."
    )


def _error(method: Method, options: Options, error: float) -> str:
    text = (
        f"The scores do not sum to what they explain: the error is {error:.0%} of the difference "
        "between input and baseline. "
    )
    if method.name == "integrated_gradients" and options.steps == "auto" and options.each:
        return text + (
            "That is the worst of the targets; steps=auto sees to that of all together. Explain "
            "this target alone, or lower tolerance."
        )
    if method.name == "integrated_gradients":
        return text + (
            "Too few steps, or a path on which the model jumps (next to a zero baseline, models "
            "with RMS norms do). Take steps=auto, more steps, or another baseline; or "
            "leave_one_out, which has no path."
        )
    if "samples" in method.defaults:
        return text + "Raise samples."
    return text + (
        "The model has parts that this method has no rule for. Take integrated_gradients."
    )
