"""Numbers and names in words, the same wherever an explanation is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lit_plugins.attribution.explanation import Explanation
from lit_plugins.attribution.methods import METHODS

LONGEST = 90  # characters of a name in a heading
_UNBROKEN = "\u00a0"  # a space at which no line breaks

_OUTPUTS = {"logprob": "log-probability", "logit": "logit", "prob": "probability"}
_PICTURES = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF], 0xFFFD),
}


def clean(text: str) -> str:
    """The text with pictures of control characters (␀, ␛), which no page or picture can hold.

    Line breaks and tabs stay. Halves of characters (surrogates) become �.
    """
    return text.translate(_PICTURES)


def number(value: float, plus: bool = False) -> str:
    """Three digits that matter, with a real minus sign: −0.0123."""
    return _signed(_digits(value, 3), plus and value > 0)


def exact(value: float, plus: bool = False) -> str:
    """All digits of single precision, no more: −0.012345679."""
    return _signed(str(np.float32(value)), plus and value > 0)


def percent(share: float) -> str:
    """Two or three digits that matter, more of them next to 100 %: 0.034 %, 12.3 %, 99.99 %."""
    if 0.99995 < share < 1:
        return f"over 99.99{_UNBROKEN}%"
    digits = 2 if share < 0.1 else 3 if share < 0.99 else 4
    return f"{_signed(_digits(100 * share, digits))}{_UNBROKEN}%"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms" if seconds < 0.1 else f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def cut(text: str, longest: int = LONGEST) -> str:
    """The text on one line, its middle left out if it is long."""
    text = " ".join(text.split())
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half].rstrip()} … {text[-half:].lstrip()}"


def visible(text: str) -> str:
    """A part by itself, on one line: white space at its ends does not count, unless it is all."""
    shown = cut(text, 60)
    return shown or text.replace("\n", "↵").replace("\t", "⇥").replace(" ", "␣") or "·"


def target(explanation: Explanation) -> str:
    """What is explained, by name: NEGATIVE, or “positive” of a language model."""
    names = explanation.names
    if explanation.task == "text-generation":
        return f"“{cut(''.join(names).replace('▁', ' '))}”"
    if not names:
        return "this score"
    shown = [cut(name, 40) for name in names] if len(names) <= 4 else [cut(names[0], 40)]
    last = shown.pop() if len(names) <= 4 else f"{len(names) - 1} more"
    return f"{', '.join(shown)} and {last}" if shown else last


def heading(explanation: Explanation) -> str:
    """The question that is answered."""
    each = ""
    if explanation.options.each and len(explanation.names) > 1:
        each = "each token of " if explanation.task == "text-generation" else "each of "
    return (
        f"Why {each}{target(explanation)}{_contrast(explanation, ', not ', ', not the runner-up')}?"
    )


def explained(explanation: Explanation) -> str:
    """The number that is explained."""
    output = _OUTPUTS[explanation.options.output]
    against = _contrast(explanation, " minus that of ", " minus that of the runner-up")
    return f"{output} of {target(explanation)}{against}"


def method(explanation: Explanation) -> str:
    """The method's title, and the name to ask for it."""
    row = METHODS.get(explanation.method)
    return f"{row.title} ({row.name})" if row else explanation.method


def value(explanation: Explanation, amount: float) -> str:
    """The number explained with its units, and the probability that it stands for."""
    options = explanation.options
    if options.output == "prob":
        return percent(amount) if 0 <= amount <= 1 else number(amount)
    units = "nats" if options.output == "logprob" else "logits"
    alone = explanation.foil is None and not options.runner_up
    if options.output == "logprob" and alone and amount <= 0:
        return f"{number(amount)} {units} (probability{_UNBROKEN}{percent(math.exp(amount))})"
    return f"{number(amount)} {units}"


def plain(value: Any) -> str:
    """An option's or a note's value as people would write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return _signed(f"{value:.3g}")
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        return cut(", ".join(plain(one) for one in value), 200)
    return cut(str(value), 200)


def _contrast(explanation: Explanation, before: str, runner_up: str) -> str:
    if explanation.foil is not None:
        return before + cut(explanation.foil, 60)
    return runner_up if explanation.options.runner_up else ""


def _digits(value: float, digits: int) -> str:
    """So many digits that matter; with an exponent where there would be many zeros."""
    if not value:
        return "0"
    if not 1e-5 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    behind = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, behind)}f}"


def _signed(text: str, plus: bool = False) -> str:
    return "+" * plus + text.replace("-", "−")
