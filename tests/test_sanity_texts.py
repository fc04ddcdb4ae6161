"""Real classifiers, taggers and rerankers: the words that a person would name lead the map."""

from __future__ import annotations

import pytest

from lit_plugins.attribution.text_explainer import TextExplainer
from lit_plugins.models import kinds
from lit_plugins.sources import parse_model

pytestmark = pytest.mark.packaged

# The words that carry the opinion.
OPINIONS = {
    "A dull, lifeless mess.": ("NEGATIVE", {"dull", "lifeless", "mess"}),
    "A warm and funny film with wonderful actors.": ("POSITIVE", {"warm", "funny", "wonderful"}),
    "The plot is boring and the jokes are terrible.": ("NEGATIVE", {"boring", "terrible"}),
    "A brilliant and moving story.": ("POSITIVE", {"brilliant", "moving"}),
    "Tedious, clumsy and far too long.": ("NEGATIVE", {"tedious", "clumsy", "too", "long"}),
    "One of the best films of the year.": ("POSITIVE", {"best"}),
    "A delightful comedy for the whole family.": ("POSITIVE", {"delightful"}),
    "This film is a complete waste of time.": ("NEGATIVE", {"waste"}),
    "Beautiful pictures and a fascinating hero.": ("POSITIVE", {"beautiful", "fascinating"}),
    "It is a stupid and pointless sequel.": ("NEGATIVE", {"stupid", "pointless"}),
    "A charming, clever and honest portrait.": ("POSITIVE", {"charming", "clever", "honest"}),
}
# Here integrated gradients are misled: leaving out "script" changes nothing.
MISLED = ("An awful script and wooden acting.", "awful", "script")


def _explainer(name):
    spec = parse_model(f"hf:packaged:{name}", name=name)
    return TextExplainer(kinds.open_model(spec, kinds.profile_of(spec)))


@pytest.fixture(scope="module")
def sentiment():
    return _explainer("sentiment")


@pytest.fixture(scope="module")
def tagger():
    return _explainer("pii-ner")


def _words(explanation):
    """Score of each word, without punctuation, lower case."""
    return {
        one.text.strip(" .,?").lower(): float(score)
        for one, score in zip(explanation.segments, explanation.scores, strict=True)
    }


@pytest.mark.parametrize("text", OPINIONS)
def test_opinions(sentiment, text):
    label, opinions = OPINIONS[text]
    made = sentiment.explain(text, segment="word")
    assert made.names == (label,)
    words = _words(made)
    assert max(words, key=words.get) in opinions
    others = [abs(score) for word, score in words.items() if word not in opinions]
    assert sum(words[one] for one in opinions) / len(opinions) > sum(others) / len(others)
    assert made.convergence_error < 0.01


def test_where_integrated_gradients_are_misled(sentiment):
    """Known, and why the page on methods says to look at two of them."""
    text, opinion, other = MISLED
    path, left_out = (
        _words(sentiment.explain(text, "NEGATIVE", method=method, segment="word"))
        for method in ("integrated_gradients", "leave_one_out")
    )
    assert path[other] > path[opinion] > 0
    assert left_out[opinion] > left_out[other]


def test_why_a_passage_is_relevant():
    passage = (
        "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square "
        "kilometers."
    )
    asked = ("How many people live in Berlin?", passage)
    made = _explainer("reranker").explain(asked, output="logit", segment="word")
    words = _words(made)
    leading = sorted(words, key=words.get, reverse=True)[:4]
    expected = {"population", "inhabitants", "berlin", "3,520,031"}
    assert leading[0] in expected
    assert len(expected & set(leading)) >= 3


def test_an_entitys_own_words_lead(tagger):
    text = "We visited Paris last weekend, where Emmanuel Macron lives."
    [tagged] = tagger.model.tag([{"text": text}])
    entities = tagger.model.entities(tagged)
    assert {text[one.begin : one.end] for one in entities} >= {"Emmanuel", "Macron"}
    for entity in entities:
        own = text[entity.begin : entity.end]
        words = _words(tagger.explain(text, span=own, segment="word"))
        assert max(words, key=words.get) == own.lower()
