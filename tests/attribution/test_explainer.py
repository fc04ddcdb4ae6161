"""The engine for language models, on tiny ones: what is asked, kept, refused and warned of."""

from __future__ import annotations

import dataclasses
import functools
import re

import numpy as np
import pytest
import tiny
import torch

import lit_plugins.attribution.engine as engine_module
from lit_plugins.attribution import baselines
from lit_plugins.attribution.explainer import Explainer, Request
from lit_plugins.attribution.methods import METHODS
from lit_plugins.errors import InputError
from lit_plugins.models.hf_text import HFCausalLM
from lit_plugins.sources import ModelOptions

PROMPT, TARGET = "the cat sat. the dog", " no mat"
FEW = {
    "integrated_gradients": {"steps": 5},
    "smooth_grad": {"samples": 3},
    "var_grad": {"samples": 3},
    "gradient_shap": {"samples": 3},
    "occlusion": {"window": 2, "stride": 2, "segment": "word"},
    "leave_one_out": {"segment": "word"},
    "shapley_sampling": {"samples": 2, "segment": "word"},
    "kernel_shap": {"samples": 15, "segment": "word"},
    "lime": {"samples": 15, "segment": "word"},
}
SIGNED = [name for name, method in METHODS.items() if method.signed]
LINEAR = [name for name, method in METHODS.items() if method.linear]
ADDITIVE = [name for name, method in METHODS.items() if method.additive]
# Random noise has the text's shape, so that another text has other noise.
NOISY = ("smooth_grad", "var_grad")


@functools.cache
def _module(family):
    return tiny.hf_module(family).double()


def _model(family="llama", tokenizer=None, module=None, **options):
    return HFCausalLM(
        module or _module(family),
        tokenizer or tiny.byte_fallback_tokenizer(),
        ModelOptions(**options),
        "tiny",
    )


@pytest.fixture
def model():
    return _model()


@pytest.fixture
def explainer(model):
    return Explainer(model)


@pytest.fixture
def calls(model, monkeypatch):
    """Sizes of the batches that go through the model."""
    made, own = [], model.logits

    def logits(features, batch):
        made.append(len(features))
        return own(features, batch)

    monkeypatch.setattr(model, "logits", logits)
    after = model.logits_after

    def logits_after(remembered, start, batch):
        made.append(len(batch.rows))
        return after(remembered, start, batch)

    monkeypatch.setattr(model, "logits_after", logits_after)
    return made


def _close(made, expected, relative=1e-5):
    scale = max(1e-3, np.abs(np.asarray(expected)).max())
    np.testing.assert_allclose(made, expected, rtol=relative, atol=relative * scale)


def _embed(ids, module=None):
    return (module or _module("llama")).get_input_embeddings()(torch.tensor([list(ids)])).detach()


def _logits(ids=None, embeddings=None, module=None):
    """All logits (tokens, vocab) of one text, no engine in between."""
    embeddings = _embed(ids, module) if embeddings is None else embeddings
    return (module or _module("llama"))(inputs_embeds=embeddings, use_cache=False).logits[0]


def _logprobs(ids, places, embeddings=None):
    """log p of the tokens at some places, by hand."""
    made = _logits(ids, embeddings).log_softmax(-1)
    return torch.stack([made[place - 1, ids[place]] for place in places])


def _target_places(text):
    return range(text.target_start, len(text.ids))


# Spans.


def test_a_span_can_be_said_in_four_ways(model):
    text = model.text(PROMPT, TARGET)
    shown = model.shown_tokens(text)
    assert shown[text.target_start :] == ["▁", "n", "o", "▁", "m", "a", "t"]
    begin = text.target_start + 4
    mask = np.zeros(len(text.ids))
    mask[begin : begin + 3] = 1
    for spans in (("mat", (begin, begin + 3), mask, list(mask)),):
        made = [Explainer(model).explain(PROMPT, TARGET, span, method="grad_l2") for span in spans]
        for one in made:
            assert one.targets == (begin, begin + 1, begin + 2)
            _close(one.value, _logprobs(text.ids, one.targets).sum().item())
            np.testing.assert_array_equal(one.scores, made[0].scores)
    [one, same] = [
        Explainer(model).explain(PROMPT, TARGET, span) for span in (begin, (begin, begin + 1))
    ]
    assert one.targets == same.targets == (begin,)
    np.testing.assert_array_equal(one.scores, same.scores)
    assert Explainer(model).explain(PROMPT, TARGET, "no").targets == (begin - 3, begin - 2)
    assert Explainer(model).explain(PROMPT, TARGET, " no").targets == (begin - 3, begin - 2)
    assert Explainer(model).explain(PROMPT, TARGET).targets == tuple(_target_places(text))
    within_prompt = Explainer(model).explain(PROMPT, TARGET, (2, 4), method="grad_l2")
    assert within_prompt.targets == (2, 3)
    assert len(within_prompt.segments) == 3


def test_weights_weigh(model, explainer):
    text = model.text(PROMPT, TARGET)
    mask = np.zeros(len(text.ids))
    mask[14], mask[16] = 0.5, -2.0
    made = explainer.explain(PROMPT, TARGET, mask, method="grad_dot_input")
    _close(made.value, (_logprobs(text.ids, [14, 16]) * torch.tensor([0.5, -2.0])).sum().item())
    singles = [explainer.explain(PROMPT, TARGET, n, method="grad_dot_input") for n in (14, 16)]
    expected = 0.5 * singles[0].per_token() - 2 * singles[1].per_token()
    _close(made.per_token(), expected)


def test_a_target_of_the_models_own(model, explainer):
    answer = model.generate([PROMPT], max_new_tokens=4)[0]
    model.options = model.options.model_copy(update={"max_new_tokens": 4})
    made = explainer.explain(PROMPT)
    assert made.tokens == tuple(model.shown_tokens(answer.text))
    assert made.targets == tuple(_target_places(answer.text))


# Matrices.


@pytest.mark.parametrize("name", METHODS)
def test_each_is_the_spans_one_by_one(model, name):
    options = FEW.get(name, {}) | ({"perturb": "replace"} if name == "leave_one_out" else {})
    matrix = Explainer(model).explain(PROMPT, TARGET, method=name, each=True, **options)
    places = list(_target_places(model.text(PROMPT, TARGET)))
    assert matrix.scores.shape == (len(places), len(matrix.segments))
    assert matrix.targets == tuple(places)
    method = METHODS[name]
    anywhere = (method.by_position and name not in NOISY) or name == "feature_ablation"
    spread = matrix.per_token()
    for row, place in enumerate(places):
        if not anywhere and place != places[-1]:
            continue  # fewer segments, and so other windows and coalitions
        one = Explainer(model).explain(PROMPT, TARGET, place, method=name, **options)
        _close(spread[row], one.per_token())
        _close(matrix.value[row], one.value)
        if one.baseline_value is not None:
            assert matrix.baseline_value.shape == (len(places),)
    if method.linear:
        whole = Explainer(model).explain(PROMPT, TARGET, method=name, **options)
        _close(spread.sum(0), whole.per_token())
        _close(matrix.value.sum(), whole.value)


@pytest.mark.parametrize("name", LINEAR)
def test_a_span_of_a_known_matrix_costs_nothing(model, explainer, calls, name):
    options = FEW.get(name, {})
    explainer.explain(PROMPT, TARGET, method=name, each=True, **options)
    mask = np.zeros(20)
    mask[[14, 17, 19]] = 1, -0.5, 3
    for span in (None, "mat", 15, (13, 16), mask):
        calls.clear()
        made = explainer.explain(PROMPT, TARGET, span, method=name, **options)
        assert not calls
        assert made.forward == made.backward == 0
        fresh = Explainer(model).explain(PROMPT, TARGET, span, method=name, **options)
        assert calls
        _close(made.per_token(), fresh.per_token())
        _close(made.value, fresh.value)
        assert made.targets == fresh.targets
        assert made.options == fresh.options
        if fresh.convergence_error is not None:
            _close(made.baseline_value, fresh.baseline_value)
            assert made.convergence_error == pytest.approx(fresh.convergence_error, rel=1e-3)
    # What the matrix does not say.
    for other in ({"output": "logit"}, {"output": "prob"}, {"runner_up": True}):
        calls.clear()
        explainer.explain(PROMPT, TARGET, "mat", method=name, **(options | other))
        assert calls, other
    calls.clear()
    explainer.explain(PROMPT, TARGET, (1, 3), method=name, **options)
    assert calls


def test_norms_of_a_sum_are_no_sums_of_norms(model, explainer, calls):
    explainer.explain(PROMPT, TARGET, method="grad_l2", each=True)
    made = explainer.explain(PROMPT, TARGET, method="grad_l2")
    fresh = Explainer(model).explain(PROMPT, TARGET, method="grad_l2")
    _close(made.scores, fresh.scores)


# Reuse.


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.kept_pass])
def test_a_second_span_pays_no_forward_pass(model, explainer, calls, name):
    first = explainer.explain(PROMPT, TARGET, "mat", method=name)
    assert (first.forward, first.backward) == (1, 1)
    for span in ("no", 13, (14, 18), None):
        calls.clear()
        made = explainer.explain(PROMPT, TARGET, span, method=name)
        assert not calls
        assert (made.forward, made.backward) == (0, 1)
        _close(made.scores, Explainer(model).explain(PROMPT, TARGET, span, method=name).scores)
    calls.clear()
    made = explainer.explain(PROMPT, TARGET, method=name, each=True)
    assert not calls
    assert (made.forward, made.backward) == (0, 7)
    fresh = Explainer(model).explain(PROMPT, TARGET, method=name, each=True)
    _close(made.scores, fresh.scores)


def test_two_methods_share_one_pass(explainer, calls):
    explainer.explain(PROMPT, TARGET, method="grad_l2")
    calls.clear()
    made = explainer.explain(PROMPT, TARGET, method="grad_dot_input")
    assert not calls
    assert made.forward == 0


@pytest.mark.parametrize("name", METHODS)
def test_the_same_again_is_remembered_by_content(explainer, calls, name):
    options = FEW.get(name, {})
    first = explainer.explain(PROMPT, TARGET, method=name, **options)
    calls.clear()
    again = explainer.explain(PROMPT, TARGET, method=name, **options)
    assert not calls
    np.testing.assert_array_equal(first.scores, again.scores)
    for prompt, target, other in (
        (PROMPT + "s", TARGET, {}),
        (PROMPT, TARGET + "s", {}),
        (PROMPT, TARGET, {"output": "logit"}),
    ):
        calls.clear()
        made = explainer.explain(prompt, target, method=name, **(options | other))
        assert calls, (prompt, target, other)
        fresh = Explainer(explainer.model)
        expected = fresh.explain(prompt, target, method=name, **(options | other))
        _close(made.scores, expected.scores)
        _close(made.value, expected.value)


def test_where_the_target_begins_is_part_of_the_content(model, explainer):
    """The same tokens, cut elsewhere: other segments and other things explained."""
    one = explainer.explain("the cat", " sat no", method="leave_one_out", segment="word")
    other = explainer.explain("the cat sat", " no", method="leave_one_out", segment="word")
    assert model.text("the cat", " sat no").ids == model.text("the cat sat", " no").ids
    assert one.targets != other.targets
    assert len(one.segments) != len(other.segments)


def test_the_memory_is_bounded(model, calls, monkeypatch):
    monkeypatch.setattr(engine_module, "CACHED", 3)
    explainer = Explainer(model)
    prompts = ["a", "b", "c", "d"]
    for prompt in prompts:
        explainer.explain(prompt, " the")
    calls.clear()
    for prompt in prompts[1:]:
        explainer.explain(prompt, " the")
    assert not calls
    explainer.explain(prompts[0], " the", "the", method="feature_ablation")
    assert calls
    for cache in vars(explainer).values():
        if isinstance(cache, engine_module._Cache):
            assert len(cache._values) <= 4


def test_a_call_that_fails_leaves_nothing_wrong_in_the_memory(model, explainer, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(model, "logits", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            explainer.explain(PROMPT, TARGET, method="grad_l2")
    made = explainer.explain(PROMPT, TARGET, method="grad_l2")
    fresh = Explainer(model).explain(PROMPT, TARGET, method="grad_l2")
    _close(made.scores, fresh.scores)


def test_requests_come_back_in_their_order_and_once(explainer, calls):
    requests = [Request(prompt, " the") for prompt in ("the cat sat", "a", "the", "a")]
    made = explainer.explain_all(requests, method="grad_l2")
    assert [one.tokens[1:-1] for one in made][1] == ("a",)
    assert made[1] is made[3]
    assert sum(calls) == 3
    for request, one in zip(requests, made, strict=True):
        fresh = Explainer(explainer.model)
        _close(one.scores, fresh.explain(request.prompt, " the", method="grad_l2").scores)
    assert explainer.explain_all([]) == []


# Contrast.


@pytest.mark.parametrize("name", SIGNED)
def test_a_foil_of_one_token(model, name):
    """The difference of two explanations; of logits as of log-probabilities."""
    options = FEW.get(name, {})
    prompt = "the dog sat on. a"
    assert len(model.text(prompt, " the").ids) - len(model.text(prompt).ids) == 1
    made = Explainer(model).explain(prompt, " the", method=name, foil=" cat", **options)
    target, foil = (
        Explainer(model).explain(prompt, text, method=name, **options) for text in (" the", " cat")
    )
    tolerance = 1e-4 if name in ("kernel_shap", "lime") else 1e-5
    scale = max(np.abs(target.scores).max(), np.abs(foil.scores).max())
    np.testing.assert_allclose(made.scores, target.scores - foil.scores, atol=tolerance * scale)
    assert np.abs(foil.scores).max() > 1e-3
    _close(made.value, target.value - foil.value)
    assert made.foil == " cat"
    assert target.foil is None
    logits = Explainer(model).explain(
        prompt, " the", method=name, foil=" cat", output="logit", **options
    )
    np.testing.assert_allclose(made.scores, logits.scores, atol=tolerance * scale)
    same = Explainer(model).explain(prompt, " the", method=name, foil="cat", **options)
    np.testing.assert_array_equal(same.scores, made.scores)


def _two_texts(model, prompt, target, foil):
    """Ids before the place where they part, and the tails."""
    one, other = (model.text(prompt, text).ids for text in (target, foil))
    place = next(n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return one[:place], one[place:], other[place:]


def _difference(before, embeddings, tails):
    """log p(target | before) - log p(foil | before), differentiable in the embeddings."""
    sides = []
    for tail in tails:
        ids = [*before, *tail]
        whole = torch.cat([embeddings, _embed(tail)], dim=1)
        sides.append(_logprobs(ids, range(len(before), len(ids)), whole).sum())
    return sides[0] - sides[1]


@pytest.mark.parametrize(("target", "foil"), [(" mat", " no"), (" the", " onion"), ("ss", " dog")])
def test_a_foil_of_several_tokens(model, target, foil):
    before, *tails = _two_texts(model, PROMPT, target, foil)
    assert len(tails[0]) != len(tails[1])
    leaf = _embed(before).requires_grad_(True)
    value = _difference(before, leaf, tails)
    (gradient,) = torch.autograd.grad(value, leaf)
    dot = Explainer(model).explain(PROMPT, target, method="grad_dot_input", foil=foil)
    _close(dot.value, value.item())
    _close(dot.scores, (gradient * leaf).sum(-1)[0].detach().numpy())
    assert [one.start for one in dot.segments] == list(range(len(before)))
    norm = Explainer(model).explain(PROMPT, target, method="grad_l2", foil=foil)
    _close(norm.scores, gradient.norm(dim=-1)[0].numpy())
    ablated = Explainer(model).explain(
        PROMPT, target, method="feature_ablation", foil=foil, template="keep"
    )
    with torch.no_grad():
        for place, score in enumerate(ablated.scores):
            less = leaf.detach().clone()
            less[0, place] = 0
            _close(score, (value - _difference(before, less, tails)).item(), 1e-4)
    deleted = Explainer(model).explain(
        PROMPT, target, method="leave_one_out", foil=foil, segment="word"
    )
    with torch.no_grad():
        for segment, score in zip(deleted.segments, deleted.scores, strict=True):
            left = before[: segment.start] + before[segment.stop :]
            less = _difference(left, _embed(left), tails)
            _close(score, (value - less).item(), 1e-4)


def test_the_runner_up(model):
    text = model.text(PROMPT, TARGET)
    logits = _logits(text.ids).log_softmax(-1)
    expected, value = [], 0.0
    for place in _target_places(text):
        others = logits[place - 1].clone()
        others[text.ids[place]] = -torch.inf
        expected.append(int(others.argmax()))
        value += (logits[place - 1, text.ids[place]] - others.max()).item()
    for method in ("grad_l2", "feature_ablation", "leave_one_out"):
        made = Explainer(model).explain(PROMPT, TARGET, method=method, runner_up=True)
        _close(made.value, value)
    pieces = [piece.data for piece in model.tokenizer.pieces(expected)]
    assert made.foil == b"".join(pieces).decode(errors="replace")
    single = Explainer(model).explain(PROMPT, TARGET, 16, runner_up=True, method="grad_dot_input")
    row = logits[15]
    _close(single.value, (row[text.ids[16]] - row[expected[16 - text.target_start]]).item())
    # Where the target is the likeliest token, the runner-up is the second.
    best = int(_logits(model.text(PROMPT).ids)[-1].argmax())
    piece = "".join(one.data.decode() for one in model.tokenizer.pieces([best]))
    own = model.text(PROMPT, piece)
    if own.ids[own.target_start :] == (best,):
        assert Explainer(model).explain(PROMPT, piece, runner_up=True).value > 0


def test_the_runner_up_of_each_token(model):
    text = model.text(PROMPT, TARGET)
    logits = _logits(text.ids)
    made = Explainer(model).explain(
        PROMPT, TARGET, method="grad_dot_input", runner_up=True, each=True
    )
    for row, place in enumerate(made.targets):
        own = logits[place - 1, text.ids[place]]
        others = logits[place - 1].clone()
        others[text.ids[place]] = -torch.inf
        _close(made.value[row], (own - others.max()).item())
        single = Explainer(model).explain(
            PROMPT, TARGET, place, method="grad_dot_input", runner_up=True
        )
        _close(made.scores[row][: len(single.scores)], single.scores)


# Outputs.


@pytest.mark.parametrize("method", ["grad_dot_input", "feature_ablation", "integrated_gradients"])
def test_outputs_by_hand(model, method):
    text = model.text(PROMPT, TARGET)
    places = list(_target_places(text))
    logprobs = _logprobs(text.ids, places).detach().numpy()
    raw = _logits(text.ids)
    logits = np.array([raw[place - 1, text.ids[place]].item() for place in places])
    options = FEW.get(method, {})
    for output, single, whole in (
        ("logprob", logprobs, logprobs.sum()),
        ("logit", logits, logits.sum()),
        ("prob", np.exp(logprobs), np.exp(logprobs.sum())),
    ):
        made = Explainer(model).explain(PROMPT, TARGET, method=method, output=output, **options)
        _close(made.value, whole, 1e-6 if output != "prob" else 1e-4)
        each = Explainer(model).explain(
            PROMPT, TARGET, method=method, output=output, each=True, **options
        )
        np.testing.assert_allclose(each.value, single, rtol=1e-6)
        assert {"logprob": "nats", "logit": "logits", "prob": "probability"}[output] in made.units


def test_the_gradient_of_a_probability(model):
    """d p = p d log p; of several tokens, the product's."""
    for span in (15, None):
        logprob, prob = (
            Explainer(model).explain(PROMPT, TARGET, span, method="grad_dot_input", output=output)
            for output in ("logprob", "prob")
        )
        np.testing.assert_allclose(
            prob.scores,
            np.exp(logprob.value) * logprob.scores,
            rtol=1e-5,
            atol=1e-6 * np.abs(prob.scores).max(),
        )


# Templates.


@pytest.fixture(scope="module")
def chat():
    return _model(tokenizer=tiny.byte_level_tokenizer(chat=True), max_new_tokens=8)


@pytest.mark.parametrize("name", METHODS)
def test_what_the_template_option_does(chat, name):
    options = {key: value for key, value in FEW.get(name, {}).items() if key != "segment"}
    if not METHODS[name].by_position:
        options |= {"segment": "word"}
    text = chat.text("the cat sat", " no")
    inside = set(range(text.content.start, text.content.stop))
    inside |= set(_target_places(text))
    outside = set(range(len(text.ids) - 1)) - inside
    assert outside
    keep, hold, drop = (
        Explainer(chat).explain("the cat sat", " no", method=name, template=template, **options)
        for template in ("keep", "hold", "drop")
    )
    scored = [{place for one in made.segments for place in range(one.start, one.stop)}
              for made in (keep, hold, drop)]  # fmt: skip
    assert outside <= scored[0]
    assert outside <= scored[2]
    assert not outside & scored[1]
    assert scored[1] <= inside
    own = [one.start in inside for one in drop.segments]
    assert not drop.scores[~np.array(own)].any()
    assert np.abs(drop.scores).sum() == pytest.approx(np.abs(keep.scores).sum(), rel=1e-5)
    ratio = drop.scores[own] / keep.scores[own]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    # Every part of the user's own text has its score.
    assert hold.segments == tuple(one for one in keep.segments if one.start in inside)
    if name in ("grad_l2", "grad_l1", "grad_dot_input", "feature_ablation", "leave_one_out"):
        _close(hold.scores, keep.scores[own])


def test_held_scaffolding_is_there_at_the_baseline(chat):
    text = chat.text("the cat sat", " no")
    for name in ("integrated_gradients", "feature_ablation", "deep_lift", "gradient_shap"):
        options = FEW.get(name, {})
        for template in ("hold", "keep"):
            made = Explainer(chat).explain(
                "the cat sat", " no", method=name, template=template, **options
            )
            embeddings = _embed(text.ids)
            last = len(text.ids) - 1
            moved = np.zeros(len(text.ids), bool)
            moved[text.content] = moved[text.target_start : last] = True
            if template == "keep":
                moved[:last] = True
            embeddings[0, moved] = 0
            expected = _logprobs(text.ids, _target_places(text), embeddings).sum()
            _close(made.baseline_value, expected.item())


# Baselines.


def test_baselines_by_hand(model):
    text = model.text(PROMPT, TARGET)
    last = len(text.ids) - 1
    weight = _module("llama").get_input_embeddings().weight
    other = _as_long_as(model, PROMPT)
    rows = {
        "zero": torch.zeros(24),
        "pad": weight[0],
        "unk": weight[3],
        "mean": weight.mean(0),
        "text": None,
    }
    for baseline, row in rows.items():
        embeddings = _embed(text.ids)
        options = {"baseline": baseline}
        if row is None:
            options["baseline_text"] = other
            embeddings[0, text.content] = _embed(model.tokenizer.encode(other))[0]
        else:
            embeddings[0, :last] = row.detach().to(embeddings)
        expected = _logprobs(text.ids, _target_places(text), embeddings).sum().item()
        for name in ("feature_ablation", "integrated_gradients", "gradient_shap", "deep_lift"):
            chosen = FEW.get(name, {}) | {"template": "keep"} | options
            made = Explainer(model).explain(PROMPT, TARGET, method=name, **chosen)
            _close(made.baseline_value, expected)


def test_the_mean_embedding_is_that_of_the_whole_vocabulary(model, monkeypatch):
    """Norms make a score blind to a baseline's scale, so the numbers themselves are compared."""
    monkeypatch.setattr(baselines, "TOKENS_AT_ONCE", 7)
    weight = _module("llama").get_input_embeddings().weight
    assert len(weight) % 7
    torch.testing.assert_close(baselines.mean_embedding(model), weight.mean(0).float())


def _as_long_as(model, prompt):
    wanted = len(model.text(prompt).ids)
    other = "no"
    while len(model.text(other).ids) < wanted:
        other += "n"
    return other


def test_a_baseline_that_the_tokenizer_lacks(explainer):
    with pytest.raises(InputError, match=r"baseline=mask.*no such token.*zero, pad, unk, mean"):
        explainer.explain(PROMPT, TARGET, method="feature_ablation", baseline="mask")


def test_a_baseline_text_implies_the_baseline(model, explainer):
    other = _as_long_as(model, PROMPT)
    made = explainer.explain(PROMPT, TARGET, method="feature_ablation", baseline_text=other)
    assert made.options.baseline == "text"


@pytest.mark.parametrize("words", [1, 40])
def test_a_baseline_text_of_another_length(explainer, words):
    wanted = r"baseline_text has \d+ tokens, the prompt has 12.*" + (
        "add to it" if words == 1 else "shorten it"
    )
    with pytest.raises(InputError, match=wanted):
        explainer.explain(
            PROMPT, TARGET, method="integrated_gradients", baseline_text="no " * words
        )


# Deletion.


def test_deleting_by_hand(model):
    """The score is that of the text without the segment's tokens."""
    text = model.text(PROMPT, TARGET)
    places = list(_target_places(text))
    value = _logprobs(text.ids, places).sum()
    for unit in ("word", "sentence", "token"):
        made = Explainer(model).explain(PROMPT, TARGET, method="leave_one_out", segment=unit)
        assert made.segments
        for segment, score in zip(made.segments, made.scores, strict=True):
            left = text.ids[: segment.start] + text.ids[segment.stop :]
            gone = segment.stop - segment.start
            less = _logprobs(left, [place - gone for place in places]).sum()
            _close(score, (value - less).item())
        kept = [n for n in range(text.target_start)
                if not any(one.start <= n < one.stop for one in made.segments)]  # fmt: skip
        left = [text.ids[n] for n in kept] + list(text.ids[text.target_start :])
        nothing = _logprobs(left, range(len(kept), len(left))).sum()
        _close(made.baseline_value, nothing.item())


def test_deleting_everything_leaves_the_token_for_nothing():
    model = _model("gpt2", tiny.byte_level_tokenizer())
    module = _module("gpt2")
    made = Explainer(model).explain(
        "the cat", " sat", method="leave_one_out", segment="sentence", template="keep"
    )
    assert len(made.segments) == 1
    text = model.text("the cat", " sat")
    ids = [*model.tokenizer.nothing, *text.ids[text.target_start :]]
    logits = _logits(ids, module=module).log_softmax(-1)
    expected = sum(logits[n - 1, ids[n]].item() for n in range(1, len(ids)))
    _close(made.baseline_value, expected)
    _close(made.scores[0], made.value - expected)


def test_deleting_for_each_target_token(model):
    """Every token of the target has its own score without the segment."""
    text = model.text(PROMPT, TARGET)
    made = Explainer(model).explain(
        PROMPT, TARGET, method="leave_one_out", segment="word", each=True
    )
    for column, segment in enumerate(made.segments):
        left = text.ids[: segment.start] + text.ids[segment.stop :]
        gone = segment.stop - segment.start
        for row, place in enumerate(made.targets):
            less = _logprobs(left, [place - gone])[0]
            whole = _logprobs(text.ids, [place])[0]
            _close(made.scores[row, column], (whole - less).item(), 1e-4)


# Cost.

# Random coalitions repeat each other, and none is computed twice.
AT_MOST = ("shapley_sampling", "kernel_shap", "lime")


@pytest.mark.parametrize(
    "more", [{}, {"each": True}, {"foil": " cat"}, {"foil": " dog on"}, {"runner_up": True}]
)
@pytest.mark.parametrize("name", METHODS)
def test_the_estimate_is_what_is_used(model, name, more):
    prompt, target = "the dog sat on. a", " the" if "foil" in more else " no mat"
    options = FEW.get(name, {}) | more
    estimate = Explainer(model).estimate(prompt, target, method=name, **options)
    made = Explainer(model).explain(prompt, target, method=name, **options)
    assert made.backward == estimate.backward
    if name in AT_MOST:
        assert 0.3 * estimate.forward <= made.forward <= estimate.forward
    elif name == "integrated_gradients":
        # One pass less a text where the first position does not move.
        assert made.forward <= estimate.forward <= made.forward + (2 if "foil" in more else 1)
    else:
        assert made.forward == estimate.forward


def test_steps_auto_takes_no_more_than_the_estimate(model):
    estimate = Explainer(model).estimate(
        PROMPT, TARGET, method="integrated_gradients", steps="auto"
    )
    made = Explainer(model).explain(PROMPT, TARGET, method="integrated_gradients", steps="auto")
    assert made.forward <= estimate.forward
    assert made.backward <= estimate.backward


@pytest.mark.measured
@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_calibration_stays_within_the_context(family):
    """Of 96 tokens here, for which some families have learned positions and no more."""
    estimate = Explainer(_model(family)).estimate("the", " cat", method="kernel_shap")
    assert estimate.seconds > 0
    assert estimate.memory >= 0


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("kernel_shap", {"samples": 100_000, "segment": "token"}),
        ("shapley_sampling", {"samples": 100_000, "segment": "token"}),
        ("integrated_gradients", {"steps": 10_000}),
        ("smooth_grad", {"samples": 100_000}),
        ("feature_ablation", {"segment": "token"}),
    ],
)
def test_what_takes_too_long_is_refused_with_what_does_not(model, calls, method, options):
    explainer = Explainer(model)
    cost = explainer.estimate(PROMPT, TARGET, method=method, **options)
    explainer.limit_seconds = cost.seconds / 2
    calls.clear()
    with pytest.raises(InputError) as refused:
        explainer.explain(PROMPT, TARGET, method=method, **options)
    assert not calls
    message = str(refused.value)
    assert "the limit is" in message
    assert f"{cost.forward:,.0f} forward" in message
    found = re.search(r"Try (\w+)(?:=(\w+))? \(", message)
    assert found, message
    if found[2] is None:
        method, options = found[1], {}
    else:
        value = int(found[2]) if found[2].isdigit() else found[2]
        options = options | {found[1]: value}
    fits = explainer.estimate(PROMPT, TARGET, method=method, **options)
    assert fits.seconds <= explainer.limit_seconds
    if fits.forward < 500:
        explainer.explain(PROMPT, TARGET, method=method, **options)


def test_many_texts_count_together(model):
    explainer = Explainer(model)
    one = explainer.estimate(PROMPT, TARGET, method="feature_ablation").seconds
    explainer.limit_seconds = 2.5 * one
    few = [Request(PROMPT, TARGET), Request(PROMPT, " mat no")]
    assert len(explainer.explain_all(few, method="feature_ablation")) == 2
    many = [Request(PROMPT, " no" + "s" * n) for n in range(1, 5)]
    with pytest.raises(InputError, match="for each of 4 texts"):
        explainer.explain_all(many, method="feature_ablation")


# Warnings.


@pytest.mark.parametrize("name", [name for name in METHODS if "baseline" in METHODS[name].defaults])
def test_a_baseline_that_is_the_input(model, name):
    options = dict(FEW.get(name, {}))
    options |= {"perturb": "replace"} if "perturb" in METHODS[name].defaults else {}
    # Of the first token explained, nothing but the prompt is in front.
    made = Explainer(model).explain(
        PROMPT, TARGET, 13, method=name, baseline_text=PROMPT, template="hold", **options
    )
    assert np.abs(made.scores).max() < 1e-6
    assert any("baseline equals the input" in one for one in made.warnings), made.warnings


def test_a_saturated_probability(model, monkeypatch):
    own = model.logits
    monkeypatch.setattr(model, "logits", lambda *args: own(*args) * 200)
    model.options = model.options.model_copy(update={"max_new_tokens": 2})
    made = Explainer(model).explain(PROMPT, method="grad_dot_input", output="prob")
    assert made.value > 0.999
    assert any("almost 1" in one for one in made.warnings), made.warnings
    made = Explainer(model).explain(PROMPT, method="grad_dot_input")
    assert not any("almost 1" in one for one in made.warnings)


def test_scores_that_do_not_sum_to_what_they_explain(model):
    made = Explainer(model).explain(
        PROMPT, TARGET, method="integrated_gradients", steps=2, rule="riemann_left", path="straight"
    )
    missed = abs(made.scores.sum() - (made.value - made.baseline_value))
    assert made.convergence_error == pytest.approx(
        missed / abs(made.value - made.baseline_value), rel=1e-4
    )
    assert made.convergence_error > 0.05
    assert any(f"the error is {made.convergence_error:.0%}" in one for one in made.warnings)
    fine = Explainer(model).explain(PROMPT, TARGET, method="shapley_sampling", samples=2)
    assert fine.convergence_error < 1e-6
    assert not any("the error is" in one for one in fine.warnings)


def test_deep_lift_without_rules():
    made = Explainer(_model("gpt2")).explain(PROMPT, TARGET, method="deep_lift")
    assert made.notes["rules"] == []
    assert any("rule for none of this model's modules" in one for one in made.warnings)
    opt = Explainer(_model("opt")).explain(PROMPT, TARGET, method="deep_lift")
    assert opt.notes["rules"] == ["ReLU"]
    assert not any("rule for none" in one for one in opt.warnings)


def test_lime_that_finds_nothing(model):
    made = Explainer(model).explain(PROMPT, TARGET, method="lime", samples=1, segment="word")
    assert not made.scores.any()
    assert any("raise samples" in one.lower() for one in made.warnings), made.warnings


def test_no_warning_where_there_is_nothing_to_warn_of(model):
    for name in ("grad_l2", "grad_dot_input", "feature_ablation", "leave_one_out"):
        assert Explainer(model).explain(PROMPT, TARGET, method=name).warnings == ()


# The answer.


@pytest.mark.parametrize("name", METHODS)
def test_an_explanation_cannot_be_changed(model, name):
    made = Explainer(model).explain(PROMPT, TARGET, method=name, **FEW.get(name, {}))
    assert made.method == name
    assert made.signed == METHODS[name].signed
    assert made.seconds > 0
    assert len(made.scores) == len(made.segments)
    assert made.options.output == "logprob"
    for key, value in METHODS[name].defaults.items():
        if key not in (*FEW.get(name, {}), "tolerance", "max_steps"):
            assert getattr(made.options, key) == value
    for values in (made.scores, made.value, made.baseline_value):
        if values is not None:
            assert not values.flags.writeable
            with pytest.raises(ValueError, match="read-only"):
                values[...] = 0
    for field in dataclasses.fields(made):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, None)
    assert made.scores.sum() == pytest.approx(made.per_token().sum(), rel=1e-5, abs=1e-6)
    with pytest.raises(TypeError):
        made.notes["path"] = "changed"


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_gradients_that_are_no_numbers(model, name, bad, monkeypatch):
    """The scores are finite all the same, and it is said."""
    own = model.logits

    class Spoil(torch.autograd.Function):
        @staticmethod
        def forward(ctx, values):
            return values.clone()

        @staticmethod
        def backward(ctx, *grads):
            spoiled = grads[0].clone()
            spoiled[:, 1, 3] = float(bad)
            return spoiled

    monkeypatch.setattr(model, "logits", lambda f, batch: own(Spoil.apply(f), batch))
    made = Explainer(model).explain(PROMPT, TARGET, method=name, **FEW.get(name, {}))
    assert np.isfinite(made.scores).all()
    assert np.isfinite(made.per_token()).all()
    assert made.convergence_error is None or np.isfinite(made.convergence_error)
    if METHODS[name].by_position:
        assert any("not finite" in one for one in made.warnings), made.warnings
    else:
        assert not any("not finite" in one for one in made.warnings)


@pytest.mark.parametrize("name", METHODS)
def test_damaged_weights(name):
    module = tiny.hf_module("llama")
    model = _model(module=module)
    with torch.no_grad():
        module.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"not a finite number.*weights are damaged"):
        Explainer(model).explain(PROMPT, TARGET, method=name, **FEW.get(name, {}))


def test_top_is_ordered_by_size(explainer):
    made = explainer.explain(PROMPT, TARGET, method="leave_one_out", segment="word")
    top = made.top(3)
    assert len(top) == 3
    sizes = [abs(score) for _, score in top]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == pytest.approx(np.abs(made.scores).max())


def test_a_kept_gradient_fits_a_shorter_text(explainer):
    """The pass that it came from covered the rest of the target too."""
    span = explainer.model.text(PROMPT, TARGET).target_start
    explainer.explain(PROMPT, TARGET, span, method="grad_l2")
    explainer.explain("the dog", " ate", method="grad_l2")
    made = explainer.explain(PROMPT, TARGET, span, method="grad_dot_input")
    fresh = Explainer(explainer.model).explain(PROMPT, TARGET, span, method="grad_dot_input")
    size = min(made.scores.shape[-1], fresh.scores.shape[-1])
    _close(made.scores[:size], fresh.scores[:size])
    assert not np.any(fresh.scores[size:])


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "mistral", "bloom", "opt"])
def test_deletion_goes_on_from_the_first_change(family, monkeypatch):
    """What is in front of a deleted segment is computed once, and the scores are the same."""
    model = tiny.hf_model(family)
    assert model.can_go_on
    options = {"method": "leave_one_out", "segment": "word", "each": True}
    starts = []
    after = model.logits_after

    def logits_after(remembered, start, batch):
        starts.append(start)
        return after(remembered, start, batch)

    monkeypatch.setattr(model, "logits_after", logits_after)
    made = Explainer(model).explain(PROMPT, TARGET, **options)
    assert len(set(starts)) >= len(made.segments) - 1
    monkeypatch.setattr(type(model), "can_go_on", False)
    expected = Explainer(model).explain(PROMPT, TARGET, **options)
    _close(made.scores, expected.scores, 1e-4)
    assert (made.forward, made.backward) == (expected.forward, expected.backward)


def test_a_model_whose_cache_lies_does_not_go_on(monkeypatch):
    model = tiny.hf_model("llama")
    own = model.logits_after
    monkeypatch.setattr(
        model, "logits_after", lambda remembered, start, batch: own(remembered, start, batch) + 1
    )
    assert not model.can_go_on
