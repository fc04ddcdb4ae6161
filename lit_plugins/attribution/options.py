"""What may be asked of an explanation, checked: one field an option, for every method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lit_plugins.errors import InputError
from lit_plugins.tasks import Output
from lit_plugins.toml_file import did_you_mean

Baseline = Literal["zero", "pad", "mask", "unk", "mean", "text"]
Rule = Literal[
    "gauss_legendre",
    "gauss_legendre_cubed",
    "riemann_left",
    "riemann_middle",
    "riemann_right",
    "riemann_trapezoid",
]
SegmentUnit = Literal["token", "word", "sentence", "line", "paragraph", "example", "regex"]
Perturb = Literal["replace", "delete"]
Path = Literal["straight", "two_legs"]
Template = Literal["keep", "hold", "drop"]

Over = Literal["all", "first", "second"]

OCCLUSION_WINDOW = 2  # segments, if none is asked for; or all, if there are fewer
SEGMENTS = get_args(SegmentUnit)


class Options(BaseModel):
    """How a score is explained.

    A method takes some of these; `None` is the method's own default.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    # What is explained.
    output: Output = "logprob"
    """`logprob` (nats), `logit` or `prob`."""
    each: bool = False
    """Each target token by itself (a matrix), rather than all of them as one number."""
    foil: str | None = Field(default=None, min_length=1)
    """The text that could have stood in the place of what is explained: why this, not that?"""
    runner_up: bool = False
    """Contrast each target token with the likeliest other one."""

    # What it is explained by.
    segment: SegmentUnit | None = None
    """What gets one score: tokens, or larger parts of the text."""
    pattern: str | None = Field(default=None, min_length=1, max_length=1000)
    """With `segment=regex`: a regular expression, whose matches are the segments."""
    template: Template | None = None
    """A chat template's scaffolding: `keep` (scored like all else), `hold` (always there, no
    score), `drop` (its scores left out, and the others scaled to the same absolute sum)."""

    over: Over | None = None
    """Of two texts: which of them gets scores; the other is always there."""

    # How.
    baseline: Baseline | None = None
    """What stands for "nothing there"."""
    baseline_text: str | None = None
    """With `baseline=text`: a text of as many tokens as the prompt."""
    steps: int | Literal["auto"] | None = Field(default=None)
    """Points on the path from baseline to input; `auto`: until the error is below `tolerance`."""
    rule: Rule | None = None
    """Where a fixed number of points is, and how they are weighed. Default: Gauss-Legendre, cubed
    for a zero baseline, so that points cluster next to it."""
    path: Path | None = None
    """`straight`, or `two_legs`: first the first position alone, then all others together, which
    language models need. Default: two_legs for those, straight for others."""
    max_steps: int | None = Field(default=None, ge=9, le=10_000)
    """With `steps=auto`: where to give up."""
    tolerance: float | None = Field(default=None, gt=0, le=1)
    """With `steps=auto`: the convergence error at which to stop, as a share of the difference."""
    samples: int | None = Field(default=None, ge=1, le=100_000)
    """Random samples: noisy copies, permutations or coalitions."""
    noise: float | None = Field(default=None, ge=0, le=10)
    """Standard deviation of the noise, as a share of the features' own."""
    window: int | None = Field(default=None, ge=1)
    """Segments covered at a time."""
    stride: int | None = Field(default=None, ge=1)
    """Segments from one window to the next; a window's width at most."""
    perturb: Perturb | None = None
    """Whether a segment is replaced by the baseline, or deleted from the text."""
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    """Of everything random."""

    @model_validator(mode="after")
    def _fit_together(self) -> Options:
        if isinstance(self.steps, int) and not 1 <= self.steps <= 10_000:
            raise ValueError(f"steps is {self.steps}: expected 1 to 10000, or auto")
        if (self.baseline == "text") != (self.baseline_text is not None):
            raise ValueError("baseline=text and baseline_text=… are given together or not at all")
        if self.segment is not None and (self.segment == "regex") != (self.pattern is not None):
            raise ValueError("segment=regex and pattern=… are given together or not at all")
        if self.foil is not None and self.runner_up:
            raise ValueError("foil and runner_up exclude each other: give one of them")
        if self.foil is not None and self.each:
            raise ValueError(
                "a foil is compared with the target as a whole: leave each out, or use runner_up, "
                "which has a foil for each token"
            )
        if self.rule is not None and self.steps == "auto":
            raise ValueError(
                f"rule={self.rule} is for a fixed number of steps: give steps=50, say, or leave "
                "rule out"
            )
        if isinstance(self.steps, int) and (self.tolerance or self.max_steps):
            raise ValueError(
                "tolerance and max_steps are for steps=auto: leave them out, or leave steps out"
            )
        window = self.window or OCCLUSION_WINDOW
        if self.stride and self.stride > window:
            raise ValueError(
                f"stride is {self.stride}, window {window}: segments would be left out. "
                "Expected a stride of a window's width at most"
            )
        return self


# What every method takes; the other options are named by its row.
COMMON = frozenset(
    ("output", "each", "foil", "runner_up", "segment", "pattern", "template")
)  # fmt: skip

# Options that a person sets in a dialog, in this order. `each` needs a heat map.
SHOWN = (
    "foil", "runner_up", "output", "segment", "pattern", "over", "template", "baseline",
    "baseline_text",
    "perturb", "steps", "max_steps", "rule", "path", "samples", "noise", "window", "stride", "seed",
)  # fmt: skip
# Options whose default is the model's own.
BY_MODEL = frozenset(("output", "template", "baseline", "perturb"))
# Options that some models take, whatever the method.
OF_MODELS = frozenset(("over",))


def resolve(name: str, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
    """The options of a method: those given, checked, over its defaults.

    Raises InputError, which names the option.
    """
    given = {key: value for key, value in given.items() if value is not None}
    allowed = [key for key in Options.model_fields if key in COMMON or key in defaults]
    for key in given:
        if key not in Options.model_fields:
            hint = did_you_mean(key, allowed)
            raise InputError(f"Unknown option {key!r}.{hint} Available: {', '.join(allowed)}.")
        if key not in allowed:
            raise InputError(f"{name} takes no option {key!r}. Available: {', '.join(allowed)}.")
    try:
        # First alone, so that what is wrong is what the caller gave.
        Options(**(_implied({}, given) | given))
        return Options(**(_implied(defaults, given) | given))
    except ValidationError as error:
        problem = error.errors()[0]
        message = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            raise InputError(f"{name}: {message}.") from None
        key = str(problem["loc"][0])
        if key == "steps":
            message = "Input should be a whole number, or auto"
        raise InputError(f"{name}: {key} is {given.get(key)!r:.80}: {message}.") from None


def _implied(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults, but for what the options given say as well."""
    implied = dict(defaults)
    if "baseline_text" in given:
        implied["baseline"] = "text"
    if "pattern" in given:
        implied["segment"] = "regex"
    if isinstance(given.get("steps"), int):
        implied |= {"tolerance": None, "max_steps": None}
    return implied
