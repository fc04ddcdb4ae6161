"""The bridge: whatever is batched, padded, split, cancelled or shared, the numbers are the same."""

from __future__ import annotations

import functools
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny
import torch
import toys

from lit_plugins.attribution.bridge import Branch, Scorer
from lit_plugins.attribution.case import Case
from lit_plugins.attribution.explainer import Explainer, Request
from lit_plugins.attribution.methods import METHODS
from lit_plugins.attribution.options import resolve
from lit_plugins.attribution.watch import Watch
from lit_plugins.errors import Cancelled, InputError
from lit_plugins.models.hf_text import HFCausalLM
from lit_plugins.sources import ModelOptions
from lit_plugins.tasks import CausalLM, SequenceLabel

FEW = {
    "integrated_gradients": {"steps": 5},
    "smooth_grad": {"samples": 5},
    "var_grad": {"samples": 5},
    "gradient_shap": {"samples": 5},
    "occlusion": {"window": 2},
    "leave_one_out": {"perturb": "replace"},
    "shapley_sampling": {"samples": 2},
    "kernel_shap": {"samples": 12},
    "lime": {"samples": 12},
}
# As many parts as possible, so that there is something to split.
FEW_TEXT = {
    name: FEW.get(name, {}) | ({} if method.by_position else {"segment": "word"})
    for name, method in METHODS.items()
} | {"leave_one_out": {"segment": "word"}}
REQUESTS = [
    Request("the cat sat on", " the mat no"),
    Request("What is the capital of France? no.", " Paris."),
    Request("the dog", " ate the onion"),
]


@functools.cache
def _module(family):
    return tiny.hf_module(family).double()


def _model(family="llama", **options):
    """In float64, so that no difference can be called rounding."""
    return HFCausalLM(
        _module(family), tiny.byte_fallback_tokenizer(), ModelOptions(**options), "tiny"
    )


def _close(made, expected):
    scale = max(1e-3, np.abs(np.asarray(expected)).max())
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-5 * scale)


# Batches.


@pytest.mark.parametrize("name", METHODS)
def test_any_number_of_points_a_pass(name):
    problem = toys.problem("two_layers")
    options = FEW.get(name, {})
    expected = problem.run(name, options, points_per_pass=64)
    for size in (1, 2, 7):
        # deep_lift compares input and baseline inside the model: two points at least.
        toy = toys.Toy(problem.module, limit=max(2, size) if name == "deep_lift" else size)
        made = problem.run(name, options, points_per_pass=size, toy=toy)
        _close(made.scores, expected.scores)
        _close(made.value, expected.value)
        assert toy.sizes
        if name != "deep_lift":
            assert max(toy.sizes) <= size


@pytest.mark.parametrize("name", METHODS)
def test_any_number_of_points_a_pass_for_each_label(name):
    problem = toys.problem("two_layers", task=SequenceLabel("logprob", each=True))
    options = FEW.get(name, {})
    expected = problem.run(name, options, points_per_pass=64)
    for size in (1, 7):
        made = problem.run(name, options, points_per_pass=size)
        _close(made.scores, expected.scores)


@functools.cache
def _one_by_one(name, size):
    """Each request by an explainer of its own; `size` texts of 16 tokens a pass."""
    return [
        Explainer(_model(tokens_per_pass=16 * size)).explain(
            one.prompt, one.target, method=name, **FEW_TEXT[name]
        )
        for one in REQUESTS
    ]


@pytest.mark.parametrize("name", METHODS)
def test_texts_together_are_as_one_by_one(name):
    """Unequal lengths, padded on the right; small and large passes."""
    expected = _one_by_one(name, 64)
    assert len({len(one.tokens) for one in expected}) == 3
    for size, batch in ((1, 2), (7, 8)):
        explainer = Explainer(_model(tokens_per_pass=16 * size, batch_size=batch))
        made = explainer.explain_all(REQUESTS, method=name, **FEW_TEXT[name])
        for one, other in zip(made, expected, strict=True):
            assert one.tokens == other.tokens
            assert one.segments == other.segments
            _close(one.scores, other.scores)
            _close(one.value, other.value)


# What each family does with padding shows in any method; every method is tested with GPT-2,
# whose positions are learned.
ONE_OF_EACH = ("grad_l2", "grad_dot_input", "integrated_gradients", "feature_ablation")


@pytest.mark.parametrize("pad_left", [False, True])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "opt", "qwen2"])
def test_padding_never_leaks(family, pad_left):
    """Unequal lengths through every method that compares with no random noise."""
    model = _model(family)
    texts = [model.text(one.prompt, one.target) for one in REQUESTS]
    masks = [
        [0.0] * text.target_start + [1.0] * (len(text.ids) - text.target_start) for text in texts
    ]
    together = model.encode(texts, masks, pad_left=pad_left)
    assert (~together.padding_mask).any()
    alone = [model.encode([text], [mask]) for text, mask in zip(texts, masks, strict=True)]
    for name, method in METHODS.items():
        if family != "gpt2" and name not in ONE_OF_EACH:
            continue
        if "noise" in method.defaults and name != "gradient_shap":
            continue  # as many random numbers as there are positions
        options = FEW.get(name, {}) | ({"path": "straight"} if "path" in method.defaults else {})
        chosen = resolve(name, method.defaults, options | ({"perturb": "replace"} if
                         "perturb" in method.defaults else {}))  # fmt: skip
        expected = [method.function()(_case(model, batch), chosen) for batch in alone]
        if method.batched or not method.by_position:
            made = method.function()(_case(model, together), chosen).scores
        else:
            made = torch.cat(
                [
                    method.function()(_case(model, together.take([row])), chosen).scores
                    for row in range(len(texts))
                ]
            )
        for row, one in enumerate(expected):
            wanted = one.scores[0, 0]
            if not method.by_position:
                _close(made[row, 0, : len(wanted)], wanted)
                continue
            real = together.padding_mask[row]
            _close(made[row, 0, real], wanted)
            assert not made[row, 0, ~real].any()


def _case(model, batch):
    """Groups of three tokens are the players; padding is held and belongs to none."""
    scorer = Scorer(model, CausalLM(), [Branch(batch)], 7)
    features = scorer.features()
    players = [np.where(mask, (np.cumsum(mask) - 1) // 3, -1) for mask in batch.padding_mask]
    held = torch.as_tensor(~batch.padding_mask)
    return Case(scorer, features, torch.zeros_like(features), held, players)


def test_gradient_through_captum_is_the_models_own():
    problem = toys.problem("two_layers", task=SequenceLabel("logprob", each=True))
    scorer = problem.case(points_per_pass=2).scorer
    rows = torch.tensor([2, 0, 0, 1, 2])
    points = problem.inputs[rows] * torch.linspace(0.2, 1.4, 5)[:, None, None]
    points.requires_grad_(True)
    weights = torch.linspace(-1, 2, 5, dtype=torch.float64)
    for output in range(toys.LABELS):
        made = scorer.captum(points, rows, output)
        expected = torch.log_softmax(problem.module(points), -1)[:, output]
        torch.testing.assert_close(made, expected)
        for one, other in zip(
            torch.autograd.grad((made * weights).sum(), points),
            torch.autograd.grad((expected * weights).sum(), points),
            strict=True,
        ):
            torch.testing.assert_close(one, other)


def test_narrow_models_answer_in_float32():
    problem = toys.problem("linear")
    narrow = toys.Linear((toys.TOKENS, toys.DIM)).bfloat16().requires_grad_(False)
    narrow.load_state_dict(problem.module.state_dict())
    one = toys.Problem(
        narrow,
        problem.inputs.bfloat16(),
        problem.baseline.float(),
        problem.labels,
        problem.held,
        problem.players,
    )
    made = one.run("grad_dot_input").scores
    assert made.dtype == torch.float32
    expected = problem.run("grad_dot_input").scores.float()
    torch.testing.assert_close(made, expected, rtol=0.05, atol=0.1)


# Memory.


@pytest.mark.parametrize("limit", [1, 2, 5])
@pytest.mark.parametrize("name", METHODS)
def test_out_of_memory_splits_and_tries_again(name, limit):
    problem = toys.problem("two_layers")
    options = FEW.get(name, {})
    expected = problem.run(name, options)
    toy = toys.Toy(problem.module, limit=limit)
    try:
        made = problem.run(name, options, toy=toy, points_per_pass=13)
    except InputError:
        # It compares input and baseline inside the model: two points at least.
        assert (name, limit) == ("deep_lift", 1)
        return
    _close(made.scores, expected.scores)
    _close(made.value, expected.value)


@pytest.mark.parametrize("name", METHODS)
def test_no_memory_for_even_one_point(name):
    problem = toys.problem("two_layers")
    with pytest.raises(InputError, match="not enough memory for one pass"):
        problem.run(name, FEW.get(name, {}), toy=toys.Toy(problem.module, limit=0))


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in METHODS if name != "deep_lift"]
    + [(name, {"runner_up": True}) for name in ("grad_l2", "integrated_gradients", "leave_one_out")]
    + [(name, {"each": True}) for name in ("grad_dot_input", "gradient_shap", "occlusion")],
)
def test_out_of_memory_of_a_language_model(name, options, monkeypatch):
    """Also where the likeliest other token is looked for, and where a pass is kept."""
    chosen = FEW_TEXT[name] | options
    expected = Explainer(_model()).explain_all(REQUESTS[:2], method=name, **chosen)
    model = _model()
    explainer = Explainer(model)
    own = model.logits

    def few(features, batch):
        if len(features) > 1:
            raise torch.OutOfMemoryError(f"no memory for {len(features)}")
        return own(features, batch)

    monkeypatch.setattr(model, "logits", few)
    made = explainer.explain_all(REQUESTS[:2], method=name, **chosen)
    for one, other in zip(made, expected, strict=True):
        _close(one.scores, other.scores)
        assert one.foil == other.foil

    for name_ in ("logits", "logits_after", "logits_of_ids"):
        monkeypatch.setattr(model, name_, lambda *_: _raise(torch.OutOfMemoryError("none")))
    with pytest.raises(InputError, match="not enough memory"):
        Explainer(model).explain("the mat", " no", method=name, **chosen)


def _raise(error):
    raise error


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    problem = toys.problem("two_layers")
    toy = toys.Toy(problem.module, before=lambda _: _raise(ZeroDivisionError("own")))
    with pytest.raises(ZeroDivisionError, match="own"):
        problem.run("grad_l2", toy=toy)
    assert len(toy.sizes) == 1


# Nothing stays behind.


def _state(module):
    """Everything that a method could leave behind."""
    return {
        "parts": [
            (
                name,
                part.training,
                sorted(vars(part)),
                *(len(getattr(part, kind)) for kind in vars(part) if kind.endswith("_hooks")),
            )
            for name, part in module.named_modules()
        ],
        "parameters": [
            (name, one.requires_grad, one.grad is None, float(one.detach().double().sum()))
            for name, one in module.named_parameters()
        ],
        "grad": torch.is_grad_enabled(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": [str(one) for one in np.random.get_state()],
        "python": random.getstate(),
        "threads": threading.active_count(),
    }


def _explained(name, module, toy, watch=None):
    problem = toys.problem("two_layers")
    problem = toys.Problem(
        module, problem.inputs, problem.baseline, problem.labels, problem.held, problem.players
    )
    return problem.run(name, FEW.get(name, {}), toy=toy, watch=watch, points_per_pass=2)


@pytest.mark.parametrize(("training", "trainable"), [(False, True), (True, False)])
@pytest.mark.parametrize("name", METHODS)
def test_nothing_stays_behind(name, training, trainable):
    module = toys.problem("two_layers").module.train(training).requires_grad_(trainable)
    torch.rand(3), np.random.rand(2)
    before = _state(module)
    toy = toys.Toy(module)
    _explained(name, module, toy)
    assert _state(module) == before
    calls = len(toy.sizes)
    for call in {1, (calls + 1) // 2, calls}:
        failing = toys.Toy(module, before=lambda n, call=call: n == call and _raise(OSError("x")))
        with pytest.raises(OSError, match="x"):
            _explained(name, module, failing)
        assert _state(module) == before
        cancel = threading.Event()
        stopped = toys.Toy(module, before=lambda n, call=call: n == call and cancel.set())  # noqa: B023
        with pytest.raises(Cancelled):
            _explained(name, module, stopped, Watch(cancel=cancel))
        assert _state(module) == before


@pytest.mark.parametrize(
    ("name", "family"), [*((name, "llama") for name in METHODS), ("deep_lift", "opt")]
)
def test_nothing_stays_behind_in_a_language_model(name, family, monkeypatch):
    model = _model(family)
    module = model.model
    before = _state(module)
    Explainer(model).explain("the cat sat", " on", method=name, **FEW_TEXT[name])
    assert _state(module) == before
    own, calls = model.logits, []
    cancel = threading.Event()

    def third(features, batch):
        calls.append(1)
        if len(calls) == 3:
            cancel.set()
        if len(calls) == 5:
            raise OSError("x")
        return own(features, batch)

    monkeypatch.setattr(model, "logits", third)
    explainer = Explainer(model)
    explainer.limit_seconds = float("inf")
    for _ in range(5):
        try:
            explainer.explain("the dog ate", " on", method=name, cancel=cancel, **FEW_TEXT[name])
        except (Cancelled, OSError):
            cancel.clear()
        assert _state(module) == before
        explainer = Explainer(model)


# Cancelling, progress, threads.


@pytest.mark.parametrize("name", METHODS)
def test_cancelling_stops_within_one_batch(name):
    problem = toys.problem("two_layers")
    whole = toys.Toy(problem.module)
    problem.run(name, FEW.get(name, {}), toy=whole, points_per_pass=2)
    calls = len(whole.sizes)
    for call in {1, 2, calls} & set(range(1, calls + 1)):
        cancel = threading.Event()
        toy = toys.Toy(problem.module, before=lambda n, call=call: n == call and cancel.set())  # noqa: B023
        with pytest.raises(Cancelled, match="Cancelled after"):
            problem.run(
                name, FEW.get(name, {}), toy=toy, points_per_pass=2, watch=Watch(cancel=cancel)
            )
        assert len(toy.sizes) == call


@pytest.mark.parametrize("name", METHODS)
def test_cancelled_before_it_begins(name, monkeypatch):
    model = _model()
    explainer = Explainer(model)
    explainer.estimate("the", " cat", method=name, **FEW_TEXT[name])  # calibrated
    cancel = threading.Event()
    cancel.set()
    calls = []
    own = model.logits
    monkeypatch.setattr(model, "logits", lambda *args: calls.append(1) or own(*args))
    with pytest.raises(Cancelled):
        explainer.explain("the cat", " sat", method=name, cancel=cancel, **FEW_TEXT[name])
    assert not calls


@pytest.mark.parametrize("options", [{}, {"each": True}, {"foil": " dog on"}])
@pytest.mark.parametrize("name", METHODS)
def test_progress_only_grows_and_ends_at_the_total(name, options):
    if name == "deep_lift" and "foil" in options:
        pytest.skip("two texts of different lengths go through its hooks one after the other")
    explainer = Explainer(_model(tokens_per_pass=32))
    seen = []
    explainer.explain(
        "the cat sat on the mat",
        " no cat",
        method=name,
        progress=lambda *at: seen.append(at),
        **(FEW_TEXT[name] | options),
    )
    assert seen
    done, totals = zip(*seen, strict=True)
    assert list(done) == sorted(done)
    assert all(0 < one <= total for one, total in seen)
    assert done[-1] == totals[-1]
    if len(seen) > 3:
        assert done[0] < 0.7 * totals[0]  # it is a share of something from the start


@pytest.mark.parametrize("name", METHODS)
def test_two_threads_get_the_same_numbers(name):
    expected = _one_by_one(name, 64)
    explainer = Explainer(_model(tokens_per_pass=40))
    torch.manual_seed(3)
    state = torch.get_rng_state()

    def explain(place):
        one = REQUESTS[place]
        return explainer.explain(one.prompt, one.target, method=name, **FEW_TEXT[name])

    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(explain, [0, 1, 1, 2]))
    for place, one in zip([0, 1, 1, 2], made, strict=True):
        _close(one.scores, expected[place].scores)
    assert torch.equal(torch.get_rng_state(), state)
