"""HTML: all is text, nothing is asked for, every score is there."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser

import made
import numpy as np
import pytest

from lit_plugins.attribution.explanation import Segment
from lit_plugins.attribution.options import Options
from lit_plugins.display import html, view, wording
from lit_plugins.display.view import STRONGEST

# What our templates write, and nothing else.
TAGS = (
    "html head meta title style body main h1 section div span strong bdi ol li p b details summary "
    "dl dt dd table thead tbody tr th td"
)
ATTRIBUTES = (
    "lang charset http-equiv content name class aria-label aria-level role dir title open scope "
    "tabindex"
)
VOID = {"meta"}


class Page(HTMLParser):
    """The elements of a page, their texts, and whether they are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS.split()
        assert {name for name, _ in attrs} <= set(ATTRIBUTES.split())
        made = {"tag": tag, **dict(attrs), "text": "", "in": [one["tag"] for one in self.open]}
        self.found.append(made)
        if tag not in VOID:
            self.open.append(made)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for one in self.open:
            one["text"] += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def of(self, name):
        """Elements of a class."""
        return [one for one in self.found if name in (one.get("class") or "").split()]


def number(text):
    return float(text.replace("−", "-"))


def shown_texts(page):
    return [one["text"] for one in page.of("lw-text")]


FORMS = {
    "text": made.random(made.ODD),
    "arabic": made.random(made.ARABIC),
    "unsigned": made.random(["a", " b"], signed=False, method="grad_l2"),
    "table": made.random(["a", " b", " c"], targets=2),
    "rows": made.random(made.ODD, targets=3),
    "unknown own": made.random(["a", " b"], own=()),
    "no parts": made.explanation([], [], names=()),
    "no parts of each": made.explanation([], np.zeros((2, 0))),
    "zeros": made.explanation(["a", " b"], [0, 0]),
    "hostile": made.hostile(),
}


@pytest.mark.parametrize("name", FORMS)
def test_pages_are_whole_and_ask_for_nothing(name):
    text = html.page([FORMS[name], FORMS[name]])
    page = Page(text)  # known tags and attributes only, no src, href or handler among them
    [policy] = [one for one in page.found if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy["content"].startswith("default-src 'none'")
    style = next(one["text"] for one in page.found if one["tag"] == "style")
    assert "url(" not in style
    assert "@import" not in style
    assert text.count("<style>") == 1
    text.encode()


def test_whatever_is_hostile_is_text():
    page = Page(html.page([made.hostile()], title=made.HOSTILE))
    assert [one["text"] for one in page.found if one["tag"] == "title"] == [made.HOSTILE]
    assert shown_texts(page) == [f"[CLS]{made.HOSTILE} {made.HOSTILE} end"]
    assert page.of("lw-warning")[0]["text"].endswith(made.HOSTILE)
    facts = {one["text"]: page.found[place + 1]["text"] for place, one in enumerate(page.found)
             if one["tag"] == "dt"}  # fmt: skip
    assert facts["Model"] == made.HOSTILE
    assert made.HOSTILE in facts["Versions"]
    assert "<script>alert(1)<" in facts["Explained"]  # its middle is left out
    assert made.HOSTILE in facts["Sum of scores"]  # the units
    assert "script" in page.of("lw-heading")[0]["text"]
    titles = [one["title"] for one in page.of("lw-part") if one.get("title")]
    assert titles
    assert all(title.endswith(made.HOSTILE) for title in titles)


@pytest.mark.parametrize("texts", [made.ODD, made.ARABIC, ["  two  spaces ", "\n\n", "end\n"]])
def test_the_text_is_whole(texts):
    whole = wording.clean("".join(texts))
    page = Page(html.fragment(made.random(texts)))
    assert shown_texts(page) == [whole]
    rows = Page(html.fragment(made.random(texts * 5, targets=2)))
    assert shown_texts(rows) == [wording.clean("".join(texts * 5))] * 2


def test_every_exact_score_is_there():
    explanation = made.random([f" w{place}" for place in range(30)])
    page = Page(html.fragment(explanation))
    titles = [number(one["title"].split()[0]) for one in page.of("lw-part")]
    np.testing.assert_array_equal(np.float32(titles), explanation.scores)
    assert all(one["title"].endswith(" nats") for one in page.of("lw-part"))
    # And in a table, for who does not point at words.
    cells = [one["text"] for one in page.found if one["tag"] == "td"]
    np.testing.assert_array_equal(np.float32([number(one) for one in cells]), explanation.scores)


def test_of_very_many_scores_the_table_has_the_largest(monkeypatch):
    monkeypatch.setattr(html, "MOST_SCORES", 3)
    page = Page(html.fragment(made.explanation(list("abcde"), [1, -5, 0.5, 4, -3])))
    cells = [number(one["text"]) for one in page.found if one["tag"] == "td"]
    assert cells == [-5, 4, -3]
    assert "The 3 largest of 5 scores" in page.of("lw-note")[0]["text"]


def test_colours_say_how_much_and_in_which_direction():
    page = Page(html.fragment(made.explanation(list("abcd"), [2.0, -1.0, 0.0, 0.1])))
    classes = [one["class"].split() for one in page.of("lw-part")]
    assert "lw-f20" in classes[0]
    assert {"lw-a10", "lw-against"} <= set(classes[1])  # told apart without colours as well
    assert classes[2] == ["lw-part"]
    assert "lw-f1" in classes[3]


def test_without_direction_there_is_none():
    text = html.fragment(made.explanation(["a", " b"], [2.0, 1.0], signed=False, units="nats/x"))
    page = Page(text)
    assert [one["class"] for one in page.of("lw-part")] == ["lw-part lw-m20", "lw-part lw-m10"]
    assert "speaks for" not in text.split("</style>")[1]
    assert "+" not in page.of("lw-strongest")[0]["text"]
    assert "2.00 nats/x" in page.of("lw-legend")[0]["text"]


def test_the_legend_has_numbers_and_units():
    page = Page(html.fragment(made.explanation(["a", " b"], [0.125, -0.5])))
    legend = page.of("lw-legend")[0]["text"]
    assert "−0.500" in legend
    assert "+0.500" in legend
    assert "nats" in legend
    [scale] = page.of("lw-scale")
    assert scale["role"] == "img"
    assert "−0.500 nats" in scale["aria-label"]


def test_marks_that_are_there_are_explained():
    plain = Page(html.fragment(made.explanation(["a"], [1.0])))
    assert plain.of("lw-keys")[0]["text"].strip() == ""
    marked = made.explanation(
        ["[CLS]", "a", " b"],
        [1.0],
        segments=(Segment(1, 2, "a"),),
        own=(False, True, True),
        places=(2,),
    )
    keys = Page(html.fragment(marked)).of("lw-keys")[0]["text"]
    for word in ("what is explained", "special tokens", "no score"):
        assert word in keys


def test_tokens_without_a_score_are_one_piece():
    explanation = made.explanation(
        ["<s>", "user", "\n", "Hi", " you", "</s>"],
        [1.0, 2.0],
        segments=(Segment(3, 4, "Hi"), Segment(4, 5, " you")),
        own=(False, False, False, True, True, False),
    )
    page = Page(html.fragment(explanation))
    asides = page.of("lw-aside")
    assert [one["text"] for one in asides if one["tag"] == "bdi"] == ["<s>user", "</s>"]
    assert shown_texts(page) == ["<s>user\nHi you</s>"]


def test_warnings_are_not_folded_away():
    page = Page(html.fragment(made.explanation(["a"], [1.0], warnings=("Mind the gap.", "Two."))))
    warnings = page.of("lw-warning")
    assert [one["text"] for one in warnings] == ["Beware: Mind the gap.", "Beware: Two."]
    assert all("details" not in one["in"] for one in warnings)


def test_the_card_says_how():
    explanation = made.explanation(
        ["a"],
        [1.0],
        options=Options(baseline="pad", steps="auto", segment="word"),
        notes={"steps": 25, "converged": True},
        convergence_error=0.0123,
        baseline_value=np.array(-2.0),
        forward=27,
        backward=25,
        seconds=1.5,
    )
    page = Page(html.fragment(explanation))
    facts = [one["text"] for one in page.found if one["tag"] in ("dt", "dd")]
    facts = dict(zip(facts[::2], facts[1::2], strict=True))
    assert facts["Method"] == "Integrated gradients (integrated_gradients)"
    assert facts["Baseline"] == "pad"
    assert facts["Steps"] == "25 (auto)"
    assert facts["Converged"] == "yes"
    assert facts["Convergence error"] == "1.2\u00a0%"
    assert facts["At the baseline"].startswith("−2.00 nats")
    assert facts["Passes"] == "27 forward, 25 backward"
    assert facts["Time"] == "1.5 s"
    assert facts["Versions"] == "torch 2.13.0"
    assert facts["Sum of scores"] == "1.00 nats"


def test_few_parts_of_each_are_a_table():
    scores = np.array([[1.0, -0.5], [0.25, 2.0], [0.0, 0.0]])
    page = Page(html.fragment(made.explanation(["[CLS]a", " b"], scores)))
    cells = [number(one["text"]) for one in page.found if one["tag"] == "td" and one["text"]]
    assert cells == scores.ravel().tolist()
    heads = [one["text"] for one in page.found if one.get("scope") == "col"]
    assert heads == ["[CLS]a", "b"]
    assert not page.of("lw-text")


def test_many_parts_of_each_are_a_text_a_target_with_colours_of_its_own():
    scores = np.zeros((2, 40))
    scores[0, 3], scores[1, 5] = 100.0, -0.01
    page = Page(html.fragment(made.explanation([f" w{place}" for place in range(40)], scores)))
    rows = page.of("lw-row")
    assert len(rows) == 2
    coloured = [one for one in page.of("lw-part") if len(one["class"].split()) > 1]
    assert [one["text"] for one in coloured] == ["w3", "w5"]
    assert "lw-f20" in coloured[0]["class"]
    assert "lw-a20" in coloured[1]["class"]
    assert "±100" in rows[0]["text"]
    assert "±0.0100" in rows[1]["text"]
    assert "the row’s largest" in page.of("lw-legend")[0]["text"]


def test_each_row_frames_what_it_explains():
    explanation = made.random(
        [f" w{place}" for place in range(30)], targets=2, places=(28, 29), task="text-generation"
    )
    page = Page(html.fragment(explanation))
    assert [one["text"] for one in page.of("lw-target") if one["tag"] == "span"] == ["w28", "w29"]


def test_too_many_targets_are_left_out_and_it_says_so(monkeypatch):
    monkeypatch.setattr(html, "MOST_PIECES", 65)
    page = Page(html.fragment(made.random([f" w{place}" for place in range(30)], targets=7)))
    assert len(page.of("lw-row")) == 2
    assert "5 more targets" in page.of("lw-note")[0]["text"]


def test_the_strongest_are_named_largest_first():
    scores = [0.1, -5.0, 0.0, 3.0, 1.0, 0.2, 0.3, 0.4]
    page = Page(html.fragment(made.explanation(list("abcdefgh"), scores)))
    found = [one["text"] for one in page.found if one["tag"] == "li"]
    assert found[:3] == ["b −5.00", "d +3.00", "e +1.00"]
    assert len(found) == STRONGEST


def test_a_fragment_stands_alone_and_touches_nothing_else():
    text = html.fragment(made.random(["a", " b"]))
    page = Page(text)
    assert page.found[0]["tag"] == "section"
    style = next(one["text"] for one in page.found if one["tag"] == "style")
    rules = re.sub(r"/\*.*?\*/", "", style, flags=re.S)
    rules = re.sub(r"@media[^{]*\{|\}", "\n", rules)
    selectors = re.findall(r"^\s*([^{};]+?)\s*\{", rules, re.M)
    assert len(selectors) > 100
    for selector in selectors:
        assert all(".lit-why" in one for one in selector.split(",")), selector
    bare = html.fragment(made.random(["a", " b"]), styled=False)
    assert "<style>" not in bare
    assert style not in bare


def test_headings_have_the_level_of_the_page():
    levels = [one["aria-level"] for one in Page(html.page([made.hostile()])).of("lw-heading")]
    assert levels == ["1"]
    page = Page(html.page([made.hostile()] * 2, title="Two"))
    assert [one["aria-level"] for one in page.of("lw-heading")] == ["2", "2"]
    assert [one["text"] for one in page.found if one["tag"] == "h1"] == ["Two"]


def test_of_no_explanations():
    assert "There is nothing to show." in Page(html.page([])).found[0]["text"]


def test_the_direction_is_that_of_the_users_own_text():
    arabic = made.random(["[CLS]", *made.ARABIC], own=(False, *(True,) * len(made.ARABIC)))
    assert [one["dir"] for one in Page(html.fragment(arabic)).of("lw-text")] == ["rtl"]
    latin = made.random(["[CLS]", "2024", " a", " كا"], own=(False, True, True, True))
    assert [one["dir"] for one in Page(html.fragment(latin)).of("lw-text")] == ["ltr"]
    number_first = made.random(["2024", " كا"])
    assert [one["dir"] for one in Page(html.fragment(number_first)).of("lw-text")] == ["rtl"]


def test_the_same_explanation_is_the_same_page():
    assert html.page([made.random(made.ODD)]) == html.page([made.random(made.ODD)])


def test_parts_and_rows_have_what_the_explanation_has():
    explanation = made.random(made.ARABIC, targets=3)
    rows = view.view(explanation).rows
    scores = [[piece.score for piece in row.pieces] for row in rows]
    np.testing.assert_array_equal(np.float32(scores), explanation.scores)
    whole = ["".join(one.before + one.text + one.after for one in row.pieces) for row in rows]
    assert whole == ["".join(made.ARABIC)] * 3


def test_ten_thousand_tokens_are_written_in_seconds():
    explanation = made.random([f" word{place}" for place in range(10_000)])
    begun = time.process_time()
    text = html.page([explanation])
    assert time.process_time() - begun < 3
    assert text.count('class="lw-part') == 10_000
    assert len(text) < 1_500_000


def test_a_method_of_others_is_shown_by_its_name():
    explanation = replace(made.random(["a"]), method="my_method")
    assert "my_method" in Page(html.fragment(explanation)).of("lw-about")[0]["text"]


def test_pages_need_no_framework():
    """Nor matplotlib, which takes a second to load."""
    code = (
        "import sys, lit_plugins.display.html; "
        "print([name for name in ('torch', 'transformers', 'tensorflow', 'keras', 'matplotlib')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
