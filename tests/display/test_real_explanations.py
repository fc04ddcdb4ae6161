"""What models' explanations, of every task, look like once they are shown."""

from __future__ import annotations

import numpy as np
import pytest
from explained import of_answer, of_label, of_pair, of_prompt, of_tag

from lit_plugins.display import view

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
