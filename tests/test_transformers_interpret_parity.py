"""Equal to transformers-interpret 0.10.0, for every text explanation that was recorded of it.

`tests/data/transformers_interpret` holds tiny random models and what transformers-interpret made of
them (captum 0.9.0, transformers 4.57.6). What it explains is not what we explain by default, so
each test asks for its way:

- the probability of a label, by integrated gradients at the word embeddings, Gauss-Legendre, from
  the padding token's embedding everywhere but at [CLS] and [SEP];
- token types of its own making, which the tokenizer would not give: 1 from a separator on;
- zero-shot: the hypothesis moves along the path, too;
- question answering: the largest logit of all positions, whichever it is along the path;
- position embeddings (`embedding_type` 1) and the whole embedding block (2): from position 0, and
  of type 0, at every token, special ones included.

All of them hold. What is not compared is its `delta`, which subtracts another baseline than the one
it integrates from.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from lit_plugins.attribution.encoder_case import build
from lit_plugins.attribution.methods import METHODS
from lit_plugins.attribution.options import resolve
from lit_plugins.attribution.text_explainer import TextExplainer
from lit_plugins.attribution.watch import Watch
from lit_plugins.models.encoded import Inquiry
from lit_plugins.models.hf_answers import HFQuestionAnswerer
from lit_plugins.models.hf_sequence import HFSequenceClassifier
from lit_plugins.models.hf_tokens import HFTokenClassifier
from lit_plugins.models.hf_zero_shot import HFZeroShotClassifier
from lit_plugins.sources import ModelOptions
from lit_plugins.tasks import SpanQA

DATA = Path(__file__).parent / "data" / "transformers_interpret"
THEIRS = json.loads((DATA / "outputs.json").read_text("utf-8"))
IG = "integrated_gradients"
PAIR = {"fields": ("text_a", "text_b")}


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    """Nothing is too expensive here, which need not be measured; threads only wait for others."""
    monkeypatch.setattr(TextExplainer, "_check_cost", lambda *_: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SEQUENCE = [name for name in THEIRS if name.startswith("Sequence")]
PAIRWISE = [name for name in THEIRS if name.startswith("Pairwise")]
ZERO_SHOT = [name for name in THEIRS if name.startswith("ZeroShot")]
TOKENS = [name for name in THEIRS if name.startswith("TokenClassification")]
ANSWERS = [name for name in THEIRS if name.startswith("QuestionAnswering")]
POSITIONS = "SequenceClassificationExplainer.tiny_pos_embeddings"
MULTI_LABEL = "MultiLabelClassificationExplainer.default"


@functools.cache
def tokenizer():
    return transformers.AutoTokenizer.from_pretrained(DATA / "tokenizer")


def model_of(kind, recorded, **arguments):
    path = DATA / "models" / recorded["model"]
    config = transformers.AutoConfig.from_pretrained(path)
    module = getattr(transformers, config.architectures[0]).from_pretrained(path)
    return kind(module, tokenizer(), ModelOptions(), "tiny", **arguments)


def options_of(recorded, **options):
    """Their method, as options of ours."""
    steps = {"rule": "gauss_legendre", "steps": recorded["n_steps"]}
    return {"output": "prob", "baseline": "pad", **steps, **options}


def with_types(inquiry, types):
    """The same question of a text with their token types."""
    if types is None or inquiry.text.types is None:
        return inquiry
    return replace(inquiry, text=replace(inquiry.text, types=tuple(types)))


def scores_of(made):
    """Scores of all tokens (…, tokens); those that have none are held, and get 0."""
    full = np.zeros((*made.scores.shape[:-1], len(made.tokens)))
    for place, segment in enumerate(made.segments):
        assert segment.stop == segment.start + 1
        full[..., segment.start] = made.scores[..., place]
    return full


def explained(model, inquiry, recorded, **options):
    """Our scores of an inquiry as it stands, with their token types."""
    assert inquiry.text.ids == tuple(recorded["input_ids"])
    inquiry = with_types(inquiry, recorded["token_type_ids"])
    [made] = TextExplainer(model).answer([inquiry], IG, options_of(recorded, **options))
    return made, scores_of(made)


def at_block(model, inquiry, recorded, block, output):
    """Our scores at a part of the embedding block, from what it says of their baseline."""
    cut = model.cut_at(block)
    inquiry = with_types(inquiry, recorded["token_type_ids"])
    given = options_of(recorded, output=output, template="keep")
    options = resolve(IG, model.option_defaults(METHODS[IG].defaults), given)
    [case] = [build(cut, [inquiry], options, Watch(), 1024).case]
    assert not case.held.any()
    embeddings = model.model.base_model.embeddings
    ids = torch.tensor([recorded["ref_input_ids"]])
    with torch.no_grad():
        if block == "embeddings":
            case.baseline = embeddings(ids, torch.zeros_like(ids), torch.zeros_like(ids))
        else:
            case.baseline = embeddings.position_embeddings(torch.zeros_like(ids))
    return METHODS[IG].function()(case, options).scores[0, 0].numpy()


def same(ours, theirs):
    theirs = np.asarray(theirs)
    assert np.abs(theirs).max() > 1e-2
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def same_shown(ours, shown, **settings):
    """What they show: tokens, and scores divided by their norm."""
    assert np.isfinite(ours).all()
    same(ours / np.linalg.norm(ours), [score for _, score in shown])
    return [token.replace("##", "").lower() for token, _ in shown]


def pieces_of(inquiry):
    return [piece.strip().lower() for piece in inquiry.text.pieces]


def ask(model, example, target=None):
    [inquiry] = model.inquiries([example], [target], [None])
    return inquiry


@pytest.mark.parametrize("name", [name for name in SEQUENCE if name != POSITIONS])
def test_sequence_classification(name):
    recorded = THEIRS[name]
    model = model_of(HFSequenceClassifier, recorded)
    inputs = recorded["inputs"]
    target = inputs.get("class_name")
    if "index" in inputs:
        target = model.labels[inputs["index"]]
    inquiry = ask(model, {"text": inputs["text"]}, target)
    if target is None:
        assert inquiry.names == (recorded["predicted_class_name"],)
    made, ours = explained(model, inquiry, recorded)
    same(ours, recorded["raw_sum"])
    assert same_shown(ours, recorded["word_attributions"]) == pieces_of(inquiry)
    assert made.value == pytest.approx(recorded["pred_probs"], abs=1e-5)


def test_position_embeddings():
    recorded = THEIRS[POSITIONS]
    model = model_of(HFSequenceClassifier, recorded)
    inquiry = ask(model, {"text": recorded["inputs"]["text"]})
    ours = at_block(model, inquiry, recorded, "embeddings.position_embeddings", "prob")
    same(ours, recorded["raw_sum"])
    same_shown(ours, recorded["word_attributions"])


def test_multi_label():
    recorded = THEIRS[MULTI_LABEL]
    model = model_of(HFSequenceClassifier, recorded)
    [inquiry] = model.inquiries([recorded["inputs"]], [None], [None], every=True)
    each = recorded["per_label"]
    made, ours = explained(model, inquiry, each[0], each=True)
    assert made.names == tuple(recorded["label_probs"])
    same(ours, [one["raw_sum"] for one in each])
    for row, name in zip(ours, made.names, strict=True):
        assert same_shown(row, recorded["word_attributions"][name]) == pieces_of(inquiry)
    np.testing.assert_allclose(made.value, list(recorded["label_probs"].values()), atol=1e-5)


@pytest.mark.parametrize("name", PAIRWISE)
def test_pairs(name):
    recorded = THEIRS[name]
    model = model_of(HFSequenceClassifier, recorded, **PAIR)
    inputs = recorded["inputs"]
    flip = inputs.get("flip_sign", False)
    target = "not SCORE" if flip else inputs.get("class_name")
    example = {"text_a": inputs["text1"], "text_b": inputs["text2"]}
    inquiry = ask(model, example, target)
    # For pairs its token types are the tokenizer's.
    assert inquiry.text.types == tuple(recorded["token_type_ids"])
    made, ours = explained(model, inquiry, recorded)
    # Flipped, it says what speaks against the label; its raw_sum is not flipped.
    same(-ours if flip else ours, recorded["raw_sum"])
    assert same_shown(ours, recorded["word_attributions"]) == pieces_of(inquiry)
    value = 1 - made.value if flip else made.value
    assert value == pytest.approx(recorded["pred_probs"], abs=1e-5)


@pytest.mark.parametrize("name", ZERO_SHOT)
def test_zero_shot(name):
    recorded = THEIRS[name]
    model = model_of(HFZeroShotClassifier, recorded)
    inputs = recorded["inputs"]
    example = {
        "text": inputs["text"],
        "candidate_labels": inputs["labels"],
        "hypothesis_template": "this text is about {} .",
    }
    [logits] = model.entailments([example])
    whole = bool(inputs.get("include_hypothesis"))
    for label, theirs in zip(inputs["labels"], recorded["per_label"], strict=True):
        inquiry = replace(ask(model, example, label), fixed=())
        _, ours = explained(model, inquiry, theirs)
        same(ours, theirs["raw_sum"])
        # Without the hypothesis, it also leaves out the text's last token; ours keeps it.
        stop = len(ours) if whole else inquiry.text.places(0).stop - 1
        shown = recorded["word_attributions"][label]
        assert same_shown(ours[:stop], shown) == pieces_of(inquiry)[:stop]
    best = inputs["labels"][int(logits[:, model.entailment].argmax())]
    assert best == recorded["predicted_label"]


@pytest.mark.parametrize("name", TOKENS)
def test_token_classification(name):
    """Every token's predicted tag, those of [CLS] and [SEP] as well, which are no words to us."""
    recorded = THEIRS[name]
    model = model_of(HFTokenClassifier, recorded)
    [tagged] = model.tag([recorded["inputs"]])
    [text] = tagged.windows
    tags = [model.labels.index(tag) for tag in recorded["predicted_class_names"]]
    places = [int(place) for place in recorded["per_index"]]
    rows = tuple(range(len(text.ids)))
    inquiry = Inquiry(text, rows, tuple(tags), ("",) * len(rows), rows)
    _, ours = explained(model, inquiry, recorded["per_index"][str(places[0])], each=True)
    assert len(places) >= 6
    for place in places:
        same(ours[place], recorded["per_index"][str(place)]["raw_sum"])
    for token, shown in recorded["word_attributions"].items():
        # A token that occurs twice is there once, with the scores of the last one.
        name = token.replace("##", "").lower()
        own = [at for at in places if pieces_of(inquiry)[at] == name]
        same_shown(ours[own[-1]], shown["attribution_scores"])
        assert shown["label"] == recorded["predicted_class_names"][own[-1]]


def test_words_that_occur_twice_are_both_explained():
    """They: one entry for both. We: one map a word, as many as there are words."""
    recorded = THEIRS["TokenClassificationExplainer.duplicate_tokens"]
    model = model_of(HFTokenClassifier, recorded)
    text = recorded["inputs"]["text"]
    assert len(recorded["word_attributions"]) == len(recorded["per_index"]) - 1
    explainer, options = TextExplainer(model), options_of(theirs(recorded, 1))
    whole = explainer.explain(text, span=text, each=True, **options)
    words = [name.partition(" of ")[2] for name in whole.names]
    assert words == ["Ada", "met", "Ada", "in", "Paris", "."]
    ours = scores_of(whole)
    for row, place in enumerate(whole.targets):
        same(ours[row], theirs(recorded, place)["raw_sum"])
    assert np.abs(ours[0] - ours[2]).max() > 0.1
    for word in (0, 2):
        one = explainer.explain(text, span=f"word {word + 1}", **options)
        same(scores_of(one), theirs(recorded, word + 1)["raw_sum"])


def theirs(recorded, place):
    return recorded["per_index"][str(place)]


def test_ignored_labels():
    """They leave the tokens out of their result; we leave the words out of the entities."""
    recorded = THEIRS["TokenClassificationExplainer.ignored"]
    assert recorded["inputs"]["ignored_labels"] == ["O"]
    model = model_of(HFTokenClassifier, recorded)
    [tagged] = model.tag([recorded["inputs"]])
    entities = model.entities(tagged)
    found = [word for one in entities for word in tagged.words[one.first : one.last]]
    assert [word.text for word in found] == ["Ada", "Lovelace", "lived", "London", "."]
    # Theirs are tokens, [SEP] among them, without the indexes to be ignored, 0 and 1.
    ours = {token for word in found for token in word.tokens} | {8}
    assert ours - {1} == {int(place) for place in recorded["per_index"]}


@dataclass(frozen=True)
class Largest(SpanQA):
    """The largest logit of the start (end), wherever it is."""

    def parts(self, logits, batch, backend):
        return logits.amax(-1)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("end", ["start", "end"])
def test_question_answering(name, end):
    recorded = THEIRS[name]
    model = model_of(HFQuestionAnswerer, recorded)
    model.task = Largest
    inputs = recorded["inputs"]
    example = {"question": inputs["question"], "context": inputs["text"]}
    [inquiry] = model.inquiries([example], [None], [end])
    inquiry = replace(inquiry, allowed=None)
    if inputs["embedding_type"] == 0:
        made, ours = explained(model, inquiry, recorded[end], output="logit")
        assert made.value > 0
    else:
        ours = at_block(model, inquiry, recorded[end], "embeddings", "logit")
    same(ours, recorded[end]["raw_sum"])
    assert same_shown(ours, recorded["word_attributions"][end]) == pieces_of(inquiry)
