"""What models' explanations, of every task, look like once they are shown."""

from __future__ import annotations

import encoders
import numpy as np
import pytest
import tiny

from lit_plugins.attribution.explainer import Explainer
from lit_plugins.attribution.text_explainer import TextExplainer
from lit_plugins.display import view


def of_label(**options):
    return TextExplainer(encoders.classifier()).explain("what a dog", **options)


def of_pair(**options):
    model = encoders.classifier(fields=("text_a", "text_b"))
    return TextExplainer(model).explain(("what a dog", "a cat"), **options)


def of_tag(**options):
    return TextExplainer(encoders.tagger()).explain("what a dog", span="word 2", **options)


def of_answer(**options):
    example = {"question": "what", "context": "a dog is a cat"}
    return TextExplainer(encoders.answerer()).explain(example, **options)


def of_prompt(**options):
    return Explainer(tiny.hf_model("llama")).explain("One two", " three four", **options)


MAKERS = [of_label, of_pair, of_tag, of_answer, of_prompt]
WAYS = {
    "signed": {"method": "grad_dot_input"},
    "each": {"method": "grad_dot_input", "each": True},
    "unsigned": {"method": "grad_l2", "segment": "word"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", MAKERS)
def test_shown_in_every_form(make, way, tmp_path):
    explanation = make(**WAYS[way])
    page = explanation.to_html(tmp_path / "why.html")
    assert (tmp_path / "why.html").read_text("utf-8") == page
    assert "</section>" in explanation._repr_html_()
    assert explanation.to_png(tmp_path / "why.png") == (tmp_path / "why.png").read_bytes()
    assert explanation.to_svg()
    assert explanation.to_pdf()
    frame = explanation.to_dataframe()
    scores = frame.score.dropna().to_numpy().reshape(explanation.scores.shape)
    np.testing.assert_array_equal(scores, explanation.scores)
    for part in ("dog" if make is not of_prompt else "three", explanation.model):
        assert part in page


@pytest.mark.parametrize("make", MAKERS)
def test_heading_and_facts_name_what_is_explained(make):
    explanation = make(method="grad_dot_input")
    shown = view.view(explanation)
    facts = dict(shown.facts)
    assert shown.heading.startswith("Why ")
    assert facts["Explained"].startswith("log-probability of ")
    assert facts["Method"] == "Gradient x input (grad_dot_input)"
    assert facts["Task"].replace(" ", "-") == explanation.task
    assert "lit-plugins" in facts["Versions"]


@pytest.mark.parametrize("make", [of_tag, of_prompt])
def test_what_is_explained_is_framed_where_it_stands_in_the_text(make):
    explanation = make(method="grad_dot_input")
    [row] = view.view(explanation).rows
    framed = "".join(piece.before + piece.text for piece in row.pieces if piece.target).strip()
    assert framed == ("a" if make is of_tag else "three four")
