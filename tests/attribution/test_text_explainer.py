"""Explanations of labels, tags, answers and zero-shot labels, by every method."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from encoders import SENTENCE, answerer, classifier, tagger, tokenizer, zero_shot

from lit_plugins.attribution import findings, methods
from lit_plugins.attribution.methods import METHODS
from lit_plugins.attribution.options import Options
from lit_plugins.attribution.text_explainer import Ask, TextExplainer
from lit_plugins.errors import Cancelled, InputError

TEXT = "Ada lives in Oslo with two dogs."
PAIR = {"question": "Where is Ada?", "context": TEXT}
FEW = {"samples": 4}
TASKS = {
    "label": (classifier, TEXT, {}),
    "pair": (lambda: classifier(fields=("text_a", "text_b")), ("Where is Ada?", TEXT), {}),
    "tag": (tagger, TEXT, {"span": "Oslo"}),
    "answer": (answerer, PAIR, {"target": "Oslo"}),
    "zero_shot": (lambda: zero_shot(candidate_labels=("dogs", "a cat")), TEXT, {"target": "dogs"}),
}


def _few(name, **options):
    return (FEW if "samples" in METHODS[name].defaults else {}) | options


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_for_every_task(name, kind):
    """The value is the model's own; additive methods sum to what the input changes."""
    make, example, asked = TASKS[kind]
    model = make()
    made = TextExplainer(model).explain(example, method=name, **asked, **_few(name))
    [inquiry] = TextExplainer(model).inquiries(
        [Ask(example, asked.get("target"), asked.get("span"))], made.options.each
    )
    batch = model.batch([inquiry])
    with torch.no_grad():
        log_p = model.logits(model.features(batch), batch).log_softmax(-1)
    expected = sum(float(log_p[0, place, target]) for place, target in enumerate(inquiry.targets))
    assert made.value == pytest.approx(expected, abs=1e-5)
    assert made.names == inquiry.names
    assert np.isfinite(made.scores).all()
    assert np.abs(made.scores).max() > 0
    if name in ("integrated_gradients", "shapley_sampling", "kernel_shap"):
        assert made.scores.sum() == pytest.approx(
            float(made.value - made.baseline_value), rel=0.02, abs=1e-4
        )
    # Special tokens and hypotheses have no score.
    scored = {place for one in made.segments for place in range(one.start, one.stop)}
    fixed = {place for place, owner in enumerate(inquiry.text.fields) if owner == -1}
    assert scored == set(range(len(made.tokens))) - fixed - set(inquiry.fixed)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.batched])
def test_texts_together_are_as_one_by_one(name, kind):
    make, example, asked = TASKS[kind]
    shorter = "Ada with two dogs in Oslo."
    if isinstance(example, tuple):
        other = ("Where?", shorter)
    else:
        other = {**PAIR, "context": shorter} if isinstance(example, dict) else shorter
    asks = [Ask(one, **asked) for one in (example, other, example)]
    steps = {"steps": 5} if name == "integrated_gradients" else {}
    together = TextExplainer(make()).explain_all(asks, method=name, **steps)
    for ask, made in zip(asks, together, strict=True):
        alone = TextExplainer(make()).explain_all([ask], method=name, **steps)[0]
        np.testing.assert_allclose(made.scores, alone.scores, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(made.value, alone.value, rtol=1e-5)


# What is explained.


@pytest.mark.parametrize("name", ["grad_dot_input", "integrated_gradients", "leave_one_out"])
def test_a_contrast_is_the_difference(name):
    """Label, tag, end of an answer and zero-shot label: this one rather than that one."""
    steps = {"steps": 8} if name == "integrated_gradients" else {}
    for make, example, first, second, span in (
        (classifier, TEXT, "POSITIVE", "NEGATIVE", None),
        (tagger, TEXT, "B-CITY", "B-PER", "Oslo"),
        (answerer, PAIR, "Oslo", "Ada", None),
        (TASKS["zero_shot"][0], TEXT, "dogs", "a cat", None),
    ):
        explainer = TextExplainer(make())
        one, other = (
            explainer.explain(example, label, span, method=name, **steps)
            for label in (first, second)
        )
        made = explainer.explain(example, first, span, method=name, foil=second, **steps)
        assert made.foil == second
        assert made.value == pytest.approx(float(one.value - other.value), abs=1e-5)
        count = len(made.segments)
        np.testing.assert_allclose(
            made.scores, one.scores[:count] - other.scores[:count], rtol=1e-3, atol=1e-4
        )


def test_each_label_by_itself():
    for model in (classifier(), classifier(problem="multi_label_classification")):
        explainer = TextExplainer(model)
        every = explainer.explain(TEXT, each=True, method="grad_dot_input")
        assert every.names == model.labels
        assert every.targets == (0, 1, 2)
        for number, label in enumerate(model.labels):
            alone = TextExplainer(model).explain(TEXT, label, method="grad_dot_input")
            np.testing.assert_allclose(every.scores[number], alone.scores, rtol=1e-4, atol=1e-6)
            assert alone.targets == (number,)


def test_each_end_of_an_answer_and_each_word_of_an_entity():
    both = TextExplainer(answerer()).explain(PAIR, "two dogs", each=True, method="grad_dot_input")
    for number, end in enumerate(("start", "end")):
        alone = TextExplainer(answerer()).explain(PAIR, "two dogs", end, method="grad_dot_input")
        np.testing.assert_allclose(both.scores[number], alone.scores, rtol=1e-4, atol=1e-6)
    whole = TextExplainer(answerer()).explain(PAIR, "two dogs", method="grad_dot_input")
    np.testing.assert_allclose(both.scores.sum(0), whole.scores, rtol=1e-4, atol=1e-5)
    words = TextExplainer(tagger()).explain(TEXT, "B-PER", "Ada lives", each=True)
    assert words.names == ("B-PER of Ada", "B-PER of lives")
    assert words.scores.shape[0] == 2


def test_one_logit_towards_one_and_towards_nought():
    model = classifier(("RELEVANT",))
    for output in ("logit", "logprob", "prob"):
        yes, no = (
            TextExplainer(model).explain(TEXT, label, output=output, method="grad_dot_input")
            for label in ("RELEVANT", "not RELEVANT")
        )
        logit = float(model.logits_of([model.texts_of({"text": TEXT})])[0, 0])
        sigmoid = 1 / (1 + np.exp(-logit))
        expected = {
            "logit": (logit, -logit),
            "logprob": (np.log(sigmoid), np.log(1 - sigmoid)),
            "prob": (sigmoid, 1 - sigmoid),
        }[output]
        np.testing.assert_allclose([yes.value, no.value], expected, rtol=1e-4)
        if output != "logprob":
            np.testing.assert_allclose(yes.scores, -no.scores, rtol=1e-4, atol=1e-6)
    against = TextExplainer(model).explain(
        TEXT, "RELEVANT", foil="not RELEVANT", method="grad_dot_input"
    )
    # log p(1) - log p(0) is the logit itself.
    assert against.value == pytest.approx(logit, rel=1e-4)


def test_a_plain_number():
    explainer = TextExplainer(classifier(("SCORE",), "regression"))
    made = explainer.explain(TEXT)
    assert made.options.output == "logit"
    with pytest.raises(InputError, match="answers with a plain number"):
        explainer.explain(TEXT, output="prob")


def test_the_runner_up():
    model = classifier()
    made = TextExplainer(model).explain(TEXT, runner_up=True, method="grad_dot_input")
    logits = np.sort(model.logits_of([model.texts_of({"text": TEXT})])[0])
    assert made.value == pytest.approx(float(logits[-1] - logits[-2]), rel=1e-4)


@pytest.mark.parametrize(
    ("make", "example", "asked", "match"),
    [
        (classifier, TEXT, {"target": "GOOD"}, "no label 'GOOD'"),
        (classifier, TEXT, {"foil": "GOOD"}, "no label 'GOOD'"),
        (classifier, TEXT, {"target": "MIXED", "foil": "MIXED"}, "is what is explained"),
        (
            lambda: classifier(problem="multi_label_classification"),
            TEXT,
            {"target": "MIXED", "foil": "POSITIVE"},
            "does not exclude what is explained",
        ),
        (classifier, TEXT, {"span": "Oslo"}, "a label is of the whole text"),
        (classifier, "", {}, "no tokens that could have a score"),
        (classifier, ("a", "b"), {}, r"reads text\. Got 2 texts"),
        (TASKS["pair"][0], "a", {}, r"reads text_a and text_b\. Got 1 text"),
        (TASKS["pair"][0], ("", ""), {}, "no tokens that could have a score"),
        (tagger, TEXT, {"span": "Oslo", "perturb": "delete", "method": "leave_one_out"},
         "perturb=delete: what is explained belongs to tokens"),
        (answerer, PAIR, {"target": "Berlin"}, "is not in the context"),
        (answerer, PAIR, {"foil": "Berlin"}, "is not in the context"),
        (TASKS["zero_shot"][0], TEXT, {"target": "fish"}, "no label 'fish'"),
        (TASKS["zero_shot"][0], TEXT, {"each": True}, "Ask label by label"),
        (TASKS["zero_shot"][0], TEXT,
         {"target": "dogs", "foil": "a cat", "method": "deep_lift"}, "modules that are used once"),
        (classifier, TEXT, {"over": "second"}, "takes no option 'over'"),
        (classifier, TEXT, {"baseline": "text", "baseline_text": "a"},
         r"baseline_text has 1 tokens, the text 8\. Expected a text of as many"),
        (classifier, TEXT, {"segment": "regex", "pattern": "zzz"}, "matches nothing"),
    ],
)  # fmt: skip
def test_what_cannot_be_explained(make, example, asked, match):
    with pytest.raises(InputError, match=match):
        TextExplainer(make()).explain(example, **asked)


# By what it is explained.


def test_words_are_the_sum_of_their_pieces():
    explainer = TextExplainer(classifier())
    text = "weekend visited, dogs 😀 in Oslo."
    pieces = explainer.explain(text, method="grad_dot_input")
    words = explainer.explain(text, method="grad_dot_input", segment="word")
    assert [one.text.strip() for one in words.segments] == text.split()
    assert len(pieces.segments) > len(words.segments)
    spread = pieces.per_token()
    for segment, score in zip(words.segments, words.scores, strict=True):
        assert score == pytest.approx(float(spread[segment.start : segment.stop].sum()), abs=1e-5)
    assert words.forward == words.backward == 0  # another view of the same pass


@pytest.mark.parametrize("template", ["hold", "keep", "drop"])
def test_special_tokens(template):
    made = TextExplainer(classifier()).explain(TEXT, template=template, method="grad_dot_input")
    plain = TextExplainer(classifier()).explain(TEXT, template="keep", method="grad_dot_input")
    special = {"[CLS]", "[SEP]"}
    shown = {one.text: score for one, score in zip(made.segments, made.scores, strict=True)}
    if template == "hold":
        assert not special & set(shown)
    elif template == "keep":
        assert all(shown[name] != 0 for name in special)
    else:
        assert all(shown[name] == 0 for name in special)
        assert np.abs(made.scores).sum() == pytest.approx(np.abs(plain.scores).sum(), rel=1e-5)


@pytest.mark.parametrize("name", ["integrated_gradients", "feature_ablation", "grad_l2"])
def test_over_one_of_two_texts(name):
    explainer = TextExplainer(answerer())
    for number, over in enumerate(("first", "second")):
        made = explainer.explain(PAIR, "Oslo", over=over, method=name)
        [inquiry] = explainer.inquiries([Ask(PAIR, "Oslo")], made.options.each)
        own = inquiry.text.places(number)
        assert {one.start for one in made.segments} == set(range(own.start, own.stop))
    # The other text stays: both together explain another difference.
    both = explainer.explain(PAIR, "Oslo", method=name)
    if name == "integrated_gradients":
        assert both.baseline_value != made.baseline_value


def test_the_hypothesis_has_scores_if_asked_for():
    explainer = TextExplainer(TASKS["zero_shot"][0]())
    made = explainer.explain(TEXT, "dogs", template="keep", method="grad_dot_input")
    assert any("this text is about dogs" in one.text.lower() for one in made.segments) or (
        len(made.segments) == len(made.tokens)
    )


@pytest.mark.parametrize("kind", ["pad", "mask", "unk"])
def test_a_fillers_baseline_is_its_text(kind):
    """The score at the baseline is the model's own for a text of fillers."""
    model = classifier()
    made = TextExplainer(model).explain(TEXT, "MIXED", baseline=kind, output="logit")
    ids = tokenizer()(TEXT)["input_ids"]
    ids[1:-1] = [model.fillers[kind]] * (len(ids) - 2)
    with torch.no_grad():
        expected = model.model(torch.tensor([ids])).logits[0, 2]
    assert made.baseline_value == pytest.approx(float(expected), abs=1e-5)
    assert made.convergence_error < 0.01


def test_a_text_as_baseline():
    model = classifier()
    other = "two dogs in Oslo with Ada where."
    made = TextExplainer(model).explain(TEXT, "MIXED", baseline_text=other, output="logit")
    expected = model.logits_of([model.texts_of({"text": other})])[0, 2]
    assert made.baseline_value == pytest.approx(float(expected), abs=1e-5)


def test_the_mean_embedding_as_baseline():
    model = classifier()
    made = TextExplainer(model).explain(TEXT, "MIXED", baseline="mean", output="logit")
    table = model.model.get_input_embeddings().weight
    batch = model.batch(TextExplainer(model).inquiries([Ask(TEXT, "MIXED")]))
    features = model.features(batch)
    features[:, 1:-1] = table.mean(0)
    with torch.no_grad():
        expected = model.logits(features, batch)[0, 0, 2]
    assert made.baseline_value == pytest.approx(float(expected), abs=1e-5)


def test_leaving_out_a_word_is_the_text_without_it():
    model = classifier()
    made = TextExplainer(model).explain(TEXT, "MIXED", method="leave_one_out", output="logit")
    words = TEXT.split()
    assert [one.text.strip() for one in made.segments] == words
    for place, score in enumerate(made.scores):
        left = " ".join(words[:place] + words[place + 1 :])
        # The last word takes its full stop with it.
        without = model.logits_of([model.texts_of({"text": left})])[0, 2]
        assert score == pytest.approx(float(made.value) - float(without), abs=1e-4)


def test_ablation_puts_the_filler_in_a_tokens_place():
    model = classifier()
    made = TextExplainer(model).explain(
        TEXT, "MIXED", method="feature_ablation", output="logit", baseline="mask"
    )
    ids = tokenizer()(TEXT)["input_ids"]
    for segment, score in zip(made.segments, made.scores, strict=True):
        changed = list(ids)
        changed[segment.start] = model.fillers["mask"]
        with torch.no_grad():
            without = model.model(torch.tensor([changed])).logits[0, 2]
        assert score == pytest.approx(float(made.value) - float(without), abs=1e-4)


# At other layers.


def test_the_whole_embedding_block():
    model = classifier()
    block = model.cut_at("embeddings")
    at_words, at_block = (
        TextExplainer(one).explain(TEXT, "MIXED", output="logit", steps=200, baseline="pad")
        for one in (model, block)
    )
    # The same two ends, another path between them.
    assert at_block.value == pytest.approx(float(at_words.value), abs=1e-5)
    assert at_block.baseline_value == pytest.approx(float(at_words.baseline_value), abs=1e-4)
    assert at_block.convergence_error < 0.01
    assert not np.allclose(at_block.scores, at_words.scores, atol=1e-3)
    with pytest.raises(InputError, match=r"has no module 'nothing'\. It has: embeddings, encoder"):
        model.cut_at("nothing")


@pytest.mark.parametrize("baseline", ["pad", "mean"])
def test_a_baseline_is_the_same_text_at_both_cuts(baseline):
    model = classifier()
    one, other = (
        TextExplainer(cut).explain(TEXT, "MIXED", output="logit", baseline=baseline)
        for cut in (model, model.cut_at("embeddings"))
    )
    assert one.baseline_value == pytest.approx(float(other.baseline_value), abs=1e-5)


# Long texts.


def test_a_long_text_says_what_was_left_out():
    made = TextExplainer(classifier(max_length=12)).explain(SENTENCE * 3, method="grad_l2")
    assert any("tokens at its end were left out (max_length is 12)" in w for w in made.warnings)
    assert len(made.tokens) == 12


def test_an_entity_is_explained_in_its_window():
    text = " ".join([SENTENCE] * 4)
    explainer = TextExplainer(tagger(max_length=24))
    made = explainer.explain(text, "B-CITY", "word 41", method="grad_l2")
    assert made.names == (f"B-CITY of {text.split()[40]}",)
    assert made.tokens[made.targets[0]].strip("▁") == text.split()[40]
    assert len(made.tokens) <= 24


def test_an_answer_in_a_long_context():
    context = f"{SENTENCE} . " * 3 + "the cat is in Paris . " + f"{SENTENCE} . " * 2
    made = TextExplainer(answerer(max_length=32)).explain(
        {"question": "where is the cat", "context": context}, "Paris", method="grad_l2"
    )
    assert made.tokens[made.targets[0]].strip("▁").lower() == "paris"


# Cost.


def test_another_label_costs_a_backward_pass_alone():
    explainer = TextExplainer(classifier())
    first = explainer.explain(TEXT, "POSITIVE", method="grad_l2")
    second = explainer.explain(TEXT, "MIXED", method="grad_l2")
    again = explainer.explain(TEXT, "POSITIVE", method="grad_dot_input")
    assert (first.forward, first.backward) == (1, 1)
    assert (second.forward, second.backward) == (0, 1)
    assert (again.forward, again.backward) == (0, 0)
    fresh = TextExplainer(classifier()).explain(TEXT, "MIXED", method="grad_l2")
    np.testing.assert_allclose(second.scores, fresh.scores, rtol=1e-5)


def test_what_was_explained_is_remembered():
    explainer = TextExplainer(classifier())
    first = explainer.explain(TEXT, "MIXED", method="leave_one_out")
    assert explainer.explain(TEXT, "MIXED", method="leave_one_out") is first


def test_estimates_and_limits():
    explainer = TextExplainer(classifier(max_explanation_seconds=1e-6))
    estimate = explainer.estimate(TEXT, method="integrated_gradients", steps=20)
    assert (estimate.forward, estimate.backward) == (23, 20)
    with pytest.raises(InputError, match=r"integrated_gradients would take .* the limit is"):
        explainer.explain(TEXT, method="integrated_gradients", steps=20)


def test_cancelling():
    cancel = threading.Event()
    seen = []

    def progress(done, expected):
        seen.append((done, expected))
        cancel.set()

    with pytest.raises(Cancelled):
        TextExplainer(classifier()).explain(
            TEXT, method="integrated_gradients", progress=progress, cancel=cancel
        )
    assert len(seen) == 1


def test_several_threads():
    explainer = TextExplainer(classifier())
    expected = [
        TextExplainer(classifier()).explain(TEXT, label, method="grad_dot_input").scores
        for label in ("NEGATIVE", "POSITIVE", "MIXED")
    ]
    made: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        label = ("NEGATIVE", "POSITIVE", "MIXED")[number % 3]
        made[number] = explainer.explain(TEXT, label, method="grad_dot_input").scores

    threads = [threading.Thread(target=work, args=(number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, scores in made.items():
        np.testing.assert_allclose(scores, expected[number % 3], rtol=1e-4, atol=1e-6)
    assert len(made) == 9


def test_what_the_worst_of_several_targets_misses_is_said():
    """steps=auto bounds the error of all targets together, and says so where one is worse."""
    options = Options(steps="auto", each=True, tolerance=0.01, max_steps=99)
    row = methods.find("integrated_gradients")
    scores = np.array([[1.0, 1.0], [0.1, 0.0]])
    value, base = np.array([2.0, 0.12]), np.zeros(2)
    error = findings.convergence_error(row, scores, value, base)
    assert error == pytest.approx(0.02 / 0.12)
    [said] = findings.warnings(row, options, scores, value, base, error)
    assert "the error is 17%" in said
    assert "worst of the targets" in said
    assert "Take steps=auto" not in said
    alone = options.model_copy(update={"each": False, "steps": 3})
    [said] = findings.warnings(row, alone, scores, value, base, error)
    assert "Take steps=auto" in said
