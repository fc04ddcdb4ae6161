"""METHODS: one row a method. What is listed here works for every model, and appears in LIT."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lit_plugins.attribution.cost import Passes, Size
from lit_plugins.attribution.options import OCCLUSION_WINDOW, Options
from lit_plugins.errors import InputError
from lit_plugins.toml_file import did_you_mean


@dataclass(frozen=True)
class Method:
    """A way to give each part of an input a score.

    Attributes:
        name: What users type.
        title: What users read.
        family: What it is listed under, with its kin.
        run: A function `(Case, Options) -> Scores`, or `module:function` in this package, which
            is imported on first use, because some need Captum.
        signed: Whether a negative score means "against the target". Unsigned scores say only how
            much, not in which direction.
        additive: Whether the scores should sum to score(input) - score(baseline).
        linear: Whether the scores of a sum are the sums of the scores, so that those of single
            target tokens give those of any span.
        cheap: Whether it may run unasked.
        kept_pass: Whether it needs nothing but one pass at the input, which can be used again.
        by_position: Whether positions are scored, and segments are sums; else segments themselves.
        batched: Whether several examples go through it together. Random methods take one at a
            time, so that the result does not depend on the others.
        units: What a score is, with `{}` for the units of the output explained.
        cost: Passes, by size and options.
        defaults: The options it takes beside the common ones, and what they are if not given.
        description: What it answers, and its source.

    """

    name: str
    title: str
    run: str | Callable[..., Any]
    family: str
    signed: bool
    units: str
    description: str
    cost: Callable[[Size, Options], Passes]
    additive: bool = False
    linear: bool = False
    cheap: bool = False
    kept_pass: bool = False
    by_position: bool = True
    batched: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def function(self) -> Callable[..., Any]:
        """What `run` names."""
        if not isinstance(self.run, str):
            return self.run
        module, _, name = self.run.partition(":")
        found = importlib.import_module(f"lit_plugins.attribution.{module}")
        return getattr(found, name)

    @property
    def passes(self) -> str:
        """What it costs with its defaults, in words, for one number explained of any text."""
        options = Options(**self.defaults)
        # Of so many segments that none of the numbers is bounded by how few there are.
        fewer, more = (self.cost(Size(1, count), options) for count in (40, 41))
        each = more.forward - fewer.forward
        if each:
            return f"{each:,g} forward a segment + {fewer.forward - 40 * each:,g}"
        known = f"{fewer.forward:,g} forward"
        known += f", {fewer.backward:,g} backward" if fewer.backward else ""
        return f"at most {known}" if options.steps == "auto" else known


def _one_pass(size: Size, options: Options) -> Passes:
    return Passes(1, size.outputs)


def _path(size: Size, options: Options) -> Passes:
    steps = options.steps if isinstance(options.steps, int) else options.max_steps or 0
    return Passes(steps + 3, steps * size.outputs)


def _noisy(size: Size, options: Options) -> Passes:
    samples = (options.samples or 1) * size.outputs
    return Passes(samples + 1, samples)


def _random_points(size: Size, options: Options) -> Passes:
    samples = (options.samples or 1) * size.outputs
    return Passes(samples + 2, samples)


def _each_segment(size: Size, options: Options) -> Passes:
    return Passes(size.segments + 2)


def _windows(size: Size, options: Options) -> Passes:
    window, stride = options.window or OCCLUSION_WINDOW, options.stride or 1
    return Passes(3 + math.ceil(max(0, size.segments - window) / stride))


def _permutations(size: Size, options: Options) -> Passes:
    return Passes(2 + _coalitions(size, size.segments * (options.samples or 1)))


def _sampled_coalitions(size: Size, options: Options) -> Passes:
    return Passes(2 + _coalitions(size, options.samples or 1))


def _coalitions(size: Size, asked: int) -> int:
    """No coalition is computed twice, and there are no more than there are."""
    return min(asked, 2 ** min(size.segments, 30))


_NOISE = {"samples": 16, "noise": 0.15, "seed": 0}
_REPLACE = {"baseline": "zero", "baseline_text": None, "perturb": "replace"}
# Every coalition costs a pass: sentences, not tokens, unless asked for.
_SENTENCES = _REPLACE | {"segment": "sentence", "template": "hold"}
_SAMPLED = _SENTENCES | {"seed": 0}

_GRADIENTS = "Gradients"
_PATHS = "From a baseline to the text"
_LEFT_OUT = "Parts left out"
_SUBSETS = "Random subsets of parts"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "grad_l2",
            "Gradient, L2 norm",
            "gradients:l2",
            family=_GRADIENTS,
            signed=False,
            units="{} per unit of embedding",
            cost=_one_pass,
            cheap=True,
            kept_pass=True,
            batched=True,
            description=(
                "Euclidean norm of the gradient at each token's embedding: how much the score "
                "moves if the token's embedding moves (Simonyan et al. 2014, arXiv 1312.6034)."
            ),
        ),
        Method(
            "grad_l1",
            "Gradient, L1 norm",
            "gradients:l1",
            family=_GRADIENTS,
            signed=False,
            units="{} per unit of embedding",
            cost=_one_pass,
            cheap=True,
            kept_pass=True,
            batched=True,
            description=(
                "Sum of the gradient's absolute values at each token's embedding: as grad_l2, with "
                "more weight on small components (Li et al. 2016, arXiv 1506.01066, section 5)."
            ),
        ),
        Method(
            "grad_dot_input",
            "Gradient x input",
            "gradients:dot_input",
            family=_GRADIENTS,
            signed=True,
            units="{}",
            cost=_one_pass,
            linear=True,
            cheap=True,
            kept_pass=True,
            batched=True,
            description=(
                "Gradient times embedding, summed over dimensions: the first-order effect of "
                "scaling a token's embedding to zero (Shrikumar et al. 2017, arXiv 1704.02685, "
                "section 2). Positive: the token supports the target."
            ),
        ),
        Method(
            "integrated_gradients",
            "Integrated gradients",
            "integrated:integrated_gradients",
            family=_PATHS,
            signed=True,
            units="{}",
            cost=_path,
            additive=True,
            batched=True,
            linear=True,
            defaults={
                "baseline": "zero",
                "baseline_text": None,
                "steps": "auto",
                "tolerance": 0.01,
                "max_steps": 100,
                "rule": None,
                "path": None,
                "template": "hold",
            },
            description=(
                "The gradient's mean over a path from a baseline to the input, times their "
                "difference: sums to what the input changes (Sundararajan et al. 2017, arXiv "
                "1703.01365, eq. 1)."
            ),
        ),
        Method(
            "smooth_grad",
            "SmoothGrad",
            "sampling:smooth_grad",
            family=_GRADIENTS,
            signed=False,
            units="{} per unit of embedding",
            cost=_noisy,
            defaults=_NOISE,
            description=(
                "Euclidean norm of the gradient's mean over noisy copies of the embeddings, which "
                "averages its local fluctuations away (Smilkov et al. 2017, arXiv 1706.03825)."
            ),
        ),
        Method(
            "var_grad",
            "VarGrad",
            "sampling:var_grad",
            family=_GRADIENTS,
            signed=False,
            units="({} per unit of embedding)²",
            cost=_noisy,
            defaults=_NOISE,
            description=(
                "Variance of the gradient over noisy copies of the embeddings, summed over "
                "dimensions: where the model is least linear (Adebayo et al. 2018, arXiv "
                "1810.03307)."
            ),
        ),
        Method(
            "gradient_shap",
            "GradientSHAP",
            "sampling:gradient_shap",
            family=_PATHS,
            signed=True,
            units="{}",
            cost=_random_points,
            additive=True,
            defaults={"baseline": "zero", "baseline_text": None} | _NOISE | {"noise": 0.0},
            description=(
                "Integrated gradients at random points of the path instead of fixed ones, over "
                "noisy inputs if asked for (Lundberg and Lee 2017; Erion et al. 2021, arXiv "
                "1906.10670, eq. 4). Sums to what the input changes, within the sampling error."
            ),
        ),
        Method(
            "deep_lift",
            "DeepLift",
            "deep_lift:deep_lift",
            family=_PATHS,
            signed=True,
            units="{}",
            cost=lambda size, options: Passes(2 + 2 * size.outputs, 2 * size.outputs),
            additive=True,
            defaults={"baseline": "zero", "baseline_text": None},
            description=(
                "Differences from a baseline, passed back through each non-linearity by the "
                "rescale rule (Shrikumar et al. 2017, arXiv 1704.02685, section 3.5.1). Torch "
                "models with activation modules that Captum has a rule for."
            ),
        ),
        Method(
            "feature_ablation",
            "Feature ablation",
            "perturbation:ablation",
            family=_LEFT_OUT,
            signed=True,
            units="{}",
            cost=_each_segment,
            by_position=False,
            defaults=_REPLACE,
            description=(
                "What the score loses when a token is replaced by the baseline (Zeiler and Fergus "
                "2014, arXiv 1311.2901, section 4.2; Li et al. 2016, arXiv 1612.08220)."
            ),
        ),
        Method(
            "occlusion",
            "Occlusion",
            "perturbation:occlusion",
            family=_LEFT_OUT,
            signed=True,
            units="{}",
            cost=_windows,
            by_position=False,
            defaults=_REPLACE | {"window": None, "stride": 1},
            description=(
                "What the score loses when a sliding window of tokens is replaced by the baseline; "
                "a token's score is the mean of its windows' (Zeiler and Fergus 2014, arXiv "
                "1311.2901, section 4.2)."
            ),
        ),
        Method(
            "leave_one_out",
            "Leave one segment out",
            "perturbation:ablation",
            family=_LEFT_OUT,
            signed=True,
            units="{}",
            cost=_each_segment,
            by_position=False,
            defaults=_SENTENCES | {"perturb": "delete", "segment": "word"},
            description=(
                "What the score loses when a word, or a sentence, line, paragraph or few-shot "
                "example, is deleted from the text (Li et al. 2016, arXiv 1612.08220, eq. 1)."
            ),
        ),
        Method(
            "shapley_sampling",
            "Shapley value sampling",
            "perturbation:shapley_sampling",
            family=_SUBSETS,
            signed=True,
            units="{}",
            cost=_permutations,
            additive=True,
            by_position=False,
            defaults=_SAMPLED | {"samples": 25},
            description=(
                "A segment's mean marginal contribution over random orders in which segments are "
                "added (Castro et al. 2009, Polynomial calculation of the Shapley value). Sums "
                "exactly to what the input changes."
            ),
        ),
        Method(
            "kernel_shap",
            "Kernel SHAP",
            "perturbation:kernel_shap",
            family=_SUBSETS,
            signed=True,
            units="{}",
            cost=_sampled_coalitions,
            additive=True,
            by_position=False,
            defaults=_SAMPLED | {"samples": 128},
            description=(
                "Shapley values by a weighted regression on random coalitions (Lundberg and Lee "
                "2017, arXiv 1705.07874, theorem 2)."
            ),
        ),
        Method(
            "lime",
            "LIME, by segments",
            "perturbation:lime",
            family=_SUBSETS,
            signed=True,
            units="{}",
            cost=_sampled_coalitions,
            by_position=False,
            defaults=_SAMPLED | {"samples": 128},
            description=(
                "Coefficients of a linear model of the score on random coalitions, near ones "
                "weighed more (Ribeiro et al. 2016, arXiv 1602.04938, eq. 1, with ridge instead of "
                "lasso, which sets small effects to zero)."
            ),
        ),
    )
}

CHEAP = tuple(name for name, method in METHODS.items() if method.cheap)


def find(name: str) -> Method:
    """The method of that name. Raises InputError."""
    if not isinstance(name, str) or name not in METHODS:
        hint = did_you_mean(name, METHODS) if isinstance(name, str) else ""
        raise InputError(f"Unknown method {name!r:.80}.{hint} Available: {', '.join(METHODS)}.")
    return METHODS[name]


# What is computed when nobody says what: both see the same single pass.
UNASKED = ("grad_l2", "grad_dot_input")
