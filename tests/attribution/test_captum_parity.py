"""Equal to Captum called by hand on the same torch model, number by number."""

from __future__ import annotations

import functools
import math

import captum.attr as captum
import numpy as np
import pytest
import tiny
import torch
import toys
from captum._utils.models.linear_model import SkLearnRidge

from lit_plugins.attribution.explainer import Explainer
from lit_plugins.attribution.sampling import seeded
from lit_plugins.models.hf_text import HFCausalLM
from lit_plugins.sources import ModelOptions

# It says that it asks for gradients, and that it sets hooks.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks"),
]

FAMILIES = ["llama", "gpt2", "gemma3"]
PROMPT, TARGET = "the cat sat on.", " mat no"
RULES = {
    "gauss_legendre": "gausslegendre",
    "riemann_left": "riemann_left",
    "riemann_right": "riemann_right",
    "riemann_middle": "riemann_middle",
    "riemann_trapezoid": "riemann_trapezoid",
}


class Forward(torch.nn.Module):
    """Embeddings (n, tokens, dim) to the summed log-probability (n,) of the target, by hand."""

    def __init__(self, module, ids, start):
        super().__init__()
        self.module, self.ids, self.start = module, ids, start

    def forward(self, embeddings):
        logits = self.module(inputs_embeds=embeddings, use_cache=False).logits
        made = torch.log_softmax(logits[:, self.start - 1 :], dim=-1)
        return sum(made[:, n, token] for n, token in enumerate(self.ids[self.start :]))


class ToyForward(torch.nn.Module):
    """One label's logit."""

    def __init__(self, module, label):
        super().__init__()
        self.module, self.label = module, label

    def forward(self, inputs):
        return self.module(inputs)[:, self.label]


class Side:
    """One input explained: the engine's way, and what Captum needs to do the same."""

    def __init__(self, forward, inputs, baseline, ours):
        self.forward, self.inputs, self.baseline, self.ours = forward, inputs, baseline, ours
        self.tokens = inputs.shape[1]
        self.mask = torch.arange(self.tokens)[None, :, None].expand_as(inputs)

    def check(self, name, native, **options):
        made = self.ours(name, options)
        native = native.detach().double().numpy()
        assert made.shape == native.shape
        assert np.abs(native).max() > 1e-3
        np.testing.assert_allclose(made, native, rtol=1e-6, atol=1e-6 * np.abs(native).max())


def _toy_side():
    problem = toys.problem("two_layers").row(1)
    problem = toys.Problem(
        problem.module, problem.inputs, problem.baseline, problem.labels, None, [np.arange(5)]
    )

    def ours(name, options):
        return problem.run(name, options, points_per_pass=3).scores[0, 0].numpy()

    forward = ToyForward(problem.module, int(problem.labels[0]))
    return Side(forward, problem.inputs, problem.baseline, ours)


@functools.cache
def _text_side(family):
    # In float64, so that only a wrong answer can miss 1e-6.
    module = tiny.hf_module(family).double()
    model = HFCausalLM(module, tiny.byte_fallback_tokenizer(), ModelOptions(), "tiny")
    model.options = model.options.model_copy(update={"tokens_per_pass": 100})
    explainer = Explainer(model)
    text = model.text(PROMPT, TARGET)

    def ours(name, options):
        options = {"template": "keep"} | options
        made = explainer.explain(PROMPT, TARGET, method=name, **options)
        assert not made.scores[..., len(text.ids) - 1 :].any()
        assert [one.start for one in made.segments] == list(range(len(text.ids) - 1))
        return made.scores

    # The last token is not an input of its own prediction.
    ids = torch.tensor([text.ids[:-1]])
    inputs = module.get_input_embeddings()(ids).detach()
    forward = Forward(module, text.ids, text.target_start)
    return Side(forward, inputs, torch.zeros_like(inputs), ours)


@pytest.fixture(params=["toy", *FAMILIES])
def side(request):
    return _toy_side() if request.param == "toy" else _text_side(request.param)


def _players(side):
    """Options that make each token a player, replaced by the baseline."""
    return {} if isinstance(side.forward, ToyForward) else {"segment": "token"}


def test_gradients(side):
    saliency = captum.Saliency(side.forward).attribute(side.inputs, abs=False)[0]
    side.check("grad_l2", saliency.norm(dim=-1))
    side.check("grad_l1", captum.Saliency(side.forward).attribute(side.inputs)[0].sum(-1))
    product = captum.InputXGradient(side.forward).attribute(side.inputs)[0]
    side.check("grad_dot_input", product.sum(-1))


@pytest.mark.parametrize("rule", RULES)
def test_integrated_gradients(side, rule):
    steps = 8  # Captum rounds weights to float32: 1/8 is exact there
    native = (
        captum.IntegratedGradients(side.forward)
        .attribute(side.inputs, side.baseline, n_steps=steps, method=RULES[rule])[0]
        .sum(-1)
    )
    if rule == "riemann_trapezoid":
        # A defect of Captum's: its weights sum to (steps - 1) / steps, ours to 1.
        native = native * steps / (steps - 1)
    options = {"rule": rule, "steps": steps, "path": "straight"}
    side.check("integrated_gradients", native, **options)


@pytest.mark.parametrize(("name", "kind"), [("smooth_grad", "smoothgrad"), ("var_grad", "vargrad")])
def test_noise_tunnel(side, name, kind):
    samples, noise, seed = 7, 0.3, 4
    with seeded(seed):
        native = captum.NoiseTunnel(captum.Saliency(side.forward)).attribute(
            side.inputs,
            nt_type=kind,
            nt_samples=samples,
            nt_samples_batch_size=samples,
            stdevs=noise * float(side.inputs.std()),
            abs=False,
        )[0]
    native = native.norm(dim=-1) if name == "smooth_grad" else native.sum(-1)
    side.check(name, native, samples=samples, noise=noise, seed=seed)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_gradient_shap(side, noise):
    with seeded(3):
        native = captum.GradientShap(side.forward).attribute(
            side.inputs,
            side.baseline,
            n_samples=6,
            stdevs=noise * float(side.inputs.std()),
        )[0]
    side.check("gradient_shap", native.sum(-1), samples=6, noise=noise, seed=3)


def test_deep_lift_of_the_toy():
    side = _toy_side()
    _deep_lift(side)


def test_deep_lift_of_a_language_model_with_rules():
    """OPT's activations are modules, which Captum has a rule for."""
    side = _text_side("opt")
    native = _deep_lift(side)
    difference = (side.inputs - side.baseline)[0]
    (gradient,) = torch.autograd.grad(side.forward(side.inputs.requires_grad_(True)), side.inputs)
    side.inputs.requires_grad_(False)
    plain = (gradient[0] * difference).sum(-1)
    # The rule fired: else this would be gradient times input.
    assert (native - plain).abs().max() > 1e-2 * plain.abs().max()


def _deep_lift(side):
    native = captum.DeepLift(side.forward).attribute(side.inputs, side.baseline)[0]
    side.check("deep_lift", native.sum(-1))
    return native.detach().sum(-1)


def _one_per_token(attributions):
    """Captum gives a token's score to each of its components."""
    assert torch.equal(attributions, attributions[..., :1].expand_as(attributions))
    return attributions[0, :, 0]


def test_feature_ablation(side):
    with torch.no_grad():
        native = captum.FeatureAblation(side.forward).attribute(
            side.inputs, side.baseline, feature_mask=side.mask
        )
    side.check("feature_ablation", _one_per_token(native), **_players(side))
    side.check("leave_one_out", _one_per_token(native), perturb="replace", **_players(side))


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (3, 1), (3, 2), (2, 2)])
def test_occlusion(side, window, stride):
    with torch.no_grad():
        native = captum.Occlusion(side.forward).attribute(
            side.inputs,
            (window, side.inputs.shape[-1]),
            (stride, side.inputs.shape[-1]),
            side.baseline,
        )
    native = native[0, :, 0]
    side.check("occlusion", native, window=window, stride=stride, **_players(side))


def test_shapley_sampling(side):
    with seeded(2), torch.no_grad():
        native = captum.ShapleyValueSampling(side.forward).attribute(
            side.inputs, side.baseline, feature_mask=side.mask.contiguous(), n_samples=3
        )
    side.check("shapley_sampling", _one_per_token(native), samples=3, seed=2, **_players(side))


def test_kernel_shap(side):
    with seeded(6), torch.no_grad():
        native = captum.KernelShap(side.forward).attribute(
            side.inputs, side.baseline, feature_mask=side.mask, n_samples=60
        )
    side.check("kernel_shap", _one_per_token(native), samples=60, seed=6, **_players(side))


def test_lime(side):
    def near(_, __, mask, **___):
        cosine = float(mask.sum()) / math.sqrt(mask.numel() * max(1.0, float(mask.sum())))
        return math.exp(-((1 - cosine) ** 2) / (2 * 0.25**2))

    with seeded(6), torch.no_grad():
        native = captum.Lime(
            side.forward, interpretable_model=SkLearnRidge(alpha=1e-3), similarity_func=near
        ).attribute(side.inputs, side.baseline, feature_mask=side.mask, n_samples=60)
    side.check("lime", _one_per_token(native), samples=60, seed=6, **_players(side))


@pytest.mark.parametrize("family", FAMILIES)
def test_each_target_token(family):
    """The matrix against one call of Captum a token."""
    side = _text_side(family)
    start = side.forward.start
    made = {
        name: side.ours(name, {"each": True} | options)
        for name, options in {
            "grad_dot_input": {},
            "integrated_gradients": {
                "steps": 5, "rule": "gauss_legendre", "path": "straight"
            },
            "feature_ablation": {},
        }.items()
    }  # fmt: skip
    for row, place in enumerate(range(start, len(side.forward.ids))):

        def forward(embeddings, place=place):
            logits = side.forward.module(inputs_embeds=embeddings, use_cache=False).logits
            return torch.log_softmax(logits, dim=-1)[:, place - 1, side.forward.ids[place]]

        native = {
            "grad_dot_input": captum.InputXGradient(forward).attribute(side.inputs),
            "integrated_gradients": captum.IntegratedGradients(forward).attribute(
                side.inputs, side.baseline, n_steps=5, method="gausslegendre"
            ),
            "feature_ablation": captum.FeatureAblation(forward).attribute(
                side.inputs, side.baseline, feature_mask=side.mask
            )
            / side.inputs.shape[-1],
        }
        for name, one in native.items():
            one = one[0].sum(-1).detach().numpy()
            np.testing.assert_allclose(
                made[name][row], one, rtol=1e-6, atol=1e-6 * np.abs(one).max()
            )
