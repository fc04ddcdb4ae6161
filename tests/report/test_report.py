"""The page as a whole."""

from __future__ import annotations

import json
import math
import re
import sys
import time
import tracemalloc
from html.parser import HTMLParser

import numpy as np
import pytest

from lit_plugins.display import wording
from lit_plugins.errors import DataError, InputError, LitPluginsError
from lit_plugins.report import Report, build, build_comparison
from lit_plugins.report.report import MOST_RUNS
from lit_plugins.report.tally import FEW

NASTY = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\x00\x1b"
# Elements that may be empty, and those that a page of ours has.
VOID = {"meta", "img", "source", "br", "col"}
INLINE = {"bdi", "strong", "em", "b", "i", "s", "span", "a", "code"}


def plus(value):
    return wording.number(value, plus=True)


def percent(share):
    return even(wording.percent(share))


def even(text):
    """With white space made even."""
    return " ".join(text.split())


class Page(HTMLParser):
    """Elements with their attributes, text by section; raises for what is not well formed."""

    def __init__(self, html):
        super().__init__()
        self.elements = []
        self.sections = {"": ""}
        self.text = ""
        self._open = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append((tag, dict(attrs).get("id") if tag == "section" else None))

    def handle_endtag(self, tag):
        if tag not in INLINE:
            self.handle_data(" ")
        opened, _ = self._open.pop()
        assert opened == tag

    def handle_data(self, data):
        if any(tag in ("style", "title") for tag, _ in self._open):
            return
        self.text += data
        section = next((name for _, name in reversed(self._open) if name), "")
        self.sections[section] = self.sections.get(section, "") + data

    def section(self, name):
        return even(self.sections[name])


def check(html):
    """What holds for every page: well formed, nothing from elsewhere, no scripts."""
    page = Page(html)
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    for tag, attributes in page.elements:
        assert tag not in ("script", "iframe", "object", "embed", "link", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "srcset"):
                assert value.startswith("data:image/png;base64,")
            if name == "href":
                assert value.startswith("#")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for _, a in page.elements if "href" in a}
    assert targets <= set(ids)
    rest = re.sub(r"base64,[^\"]*", "", html)
    assert not re.search(r"url\(|@import|\bnan\b|undefined", rest, re.IGNORECASE)
    return page


def reviews(explained, method="leave_one_out", model="model", sign=1, count=3):
    """Explanations of texts of which every third is wrong, and their gold labels."""
    made = []
    for place in range(count):
        good = place % 2 == 0
        parts = [("[CLS]", 0.5), ("A", 0.125 * sign), (" great" if good else " dull", 2.0),
                 (" film", -0.25), (f" {place}.", 0), ("[SEP]", 0)]  # fmt: skip
        name, value = "GOOD" if good else "BAD", -0.01 * (place + 1)
        made.append(explained(parts, name, value, method=method, model=model))
    wrong = {"GOOD": "BAD", "BAD": "GOOD"}
    gold = [one.names[0] if n % 3 else wrong[one.names[0]] for n, one in enumerate(made)]
    return made, gold


def test_a_report(explained):
    made, gold = reviews(explained, count=12)
    other, _ = reviews(explained, "feature_ablation", sign=-1, count=12)
    html = build([*made, *other], "Reviews", gold + gold)
    page = check(html)
    likely = percent(math.exp(-0.01))
    assert "24 explanations of model, by 2 methods." in page.section("")
    assert f"4 of 12 answers are wrong ({percent(1 / 3)})." in page.section("")
    assert "great (6×) speak most for GOOD" in page.section("").replace(", a (6×)", "")
    assert "4 of 12 answers wrong" in page.section("errors")
    assert f"Record 1: answer GOOD (probability {likely}), gold label BAD." in page.section(
        "errors"
    )
    words = page.section("words")
    assert f"great {plus(2)} 6 {percent(1)} A great film 0." in words
    assert "6 explanations, 24 occurrences of 9 words; 3 of them at least 2 times" in words
    assert "Speak against BAD" in words
    special = page.section("special")
    # 0.5 of 0.5 + 0.125 + 2 + 0.25.
    share = percent(0.5 / 2.875)
    assert f"leave_one_out: {share} in the mean over 12 explanations, at most {share}." in special
    assert f"By token: [CLS] {share}, [SEP] {percent(0)}." in special
    agreement = page.section("agreement")
    # Parts 0.125, 2, -0.25, 0 beside -0.125, 2, -0.25, 0: 1 - 6 · 2 / (4 · 15) = 0.8.
    rho = wording.number(0.8)
    row = f"12 {rho} {rho} to {rho} {percent(0)} {percent(1)} score 0"
    assert f"leave_one_out and feature_ablation {row}" in agreement
    pictures = [a for tag, a in page.elements if tag == "img"]
    assert len(pictures) == 4
    assert pictures[0]["alt"].startswith("Beeswarm of BAD by leave_one_out: 3 words in 6 texts.")
    assert build([*made, *other], "Reviews", gold + gold) == html


def test_the_surest_errors_come_first(explained):
    chances = (0.6, 0.9, 0.7)
    made = [
        explained([("a", 1.0), (f" {n}", 0.5)], value=math.log(chance))
        for n, chance in enumerate(chances)
    ]
    errors = check(build(made, labels=["BAD"] * 3)).section("errors")
    assert re.findall(r"Record (\d)", errors) == ["2", "3", "1"]
    two = check(build(made, labels=["BAD"] * 3, errors=2)).section("errors")
    assert re.findall(r"Record (\d)", two) == ["2", "3"]
    none = check(build(made, labels=["BAD"] * 3, errors=0)).section("errors")
    assert "3 of 3 answers wrong" in none
    assert "Record" not in none


def test_what_differs_in_model_and_method_is_not_compared(explained):
    report = Report()
    for model in "ab":
        for method in ("lime", "leave_one_out"):
            parts = [("a", 1.0), (" b", 2.0), (" c", 3.0)]
            report.add(explained(parts, model=model, method=method))
    # 0: a, lime; 1: a, leave_one_out; 2: b, lime; 3: b, leave_one_out.
    assert set(report.matcher.pairs) == {(0, 1), (2, 3), (0, 2), (1, 3)}


def test_without_gold_labels_the_least_sure_are_shown(explained):
    made, _ = reviews(explained, count=FEW + 4)
    page = check(build(made))
    assert "errors" not in page.sections
    assert f"Record 12: answer BAD (probability {percent(math.exp(-0.12))})." in page.section(
        "unsure"
    )


def test_few_are_all_shown(explained):
    made, _ = reviews(explained, count=3)
    page = check(build(made))
    assert page.text.count("Record 2: answer BAD") == 1
    assert sum(a.get("class") == "lit-why" for _, a in page.elements) == 3


@pytest.mark.parametrize("labels", [None, []])
def test_of_nothing(labels):
    assert "There are no explanations" in check(build([], labels=labels)).text


@pytest.mark.parametrize("gold", [None, "GOOD", "BAD"])
@pytest.mark.parametrize(
    "parts", [[("a", 1.0)], [("a", 0)], [("[CLS]", 1.0)], [("[CLS]", None), ("a", None)], []]
)
def test_of_one(explained, parts, gold):
    page = check(build([explained(parts)], labels=[gold]))
    assert "1 explanation of model" in page.section("")


def test_of_scores_that_are_all_the_same(explained):
    made = [explained([("same", 1.0), (" same", 1.0)]) for _ in range(20)]
    page = check(build(made, beeswarms=True))
    assert f"same {plus(1)} 40 {percent(1)}" in page.section("words")


def test_of_zeros(explained):
    made = [explained([("a", 0), (f" b{n}", 0), (" c", 0)], method=method)
            for method in ("lime", "leave_one_out") for n in range(12)]  # fmt: skip
    page = check(build(made))
    assert "No score differs from 0" in page.section("places")
    assert "leave_one_out 0 – – – – score 12" in page.section("agreement")


def test_of_scores_without_a_sign(explained):
    made = [explained([("a", 1.0), (f" b{n}", 2.0)], method="grad_l2", signed=False)
            for n in range(12)]  # fmt: skip
    page = check(build(made))
    assert "Weigh most for GOOD" in page.section("words")
    assert "against GOOD" not in page.text
    assert "scores of grad_l2 have no sign" in page.section("how")


@pytest.mark.parametrize(
    ("task", "names", "value", "heading"),
    [
        ("pair-classification", ("RELEVANT",), -0.1, "RELEVANT"),
        ("token-classification", ("B-PER of Ada", "I-PER of Byron"), -0.1, "PER"),
        ("question-answering", ("start of Rome", "end of Rome"), -0.1, "the answer"),
        ("text-generation", ("▁Ro", "me"), -0.1, "the text generated"),
        ("zero-shot", ("sport",), -0.1, "sport"),
    ],
)
def test_of_every_task(explained, task, names, value, heading):
    made = [explained([("Where", 1.0), (" is", -1.0), ("[SEP]", 0), (f"Ada {n}", 2.0)],
                      names=names, value=value, task=task) for n in range(12)]  # fmt: skip
    page = check(build(made, labels=["Rome"] * 12))
    assert f"Speak for {heading}" in page.section("words")
    assert ("errors" in page.sections) == (task not in ("token-classification", "text-generation"))
    if task == "question-answering":
        assert "0 of 12 answers wrong" in page.section("errors")


def test_of_all_labels_one_by_one(explained):
    made = [explained([("a", [1.0, -1.0]), (f" b{n}", [2.0, -2.0])], names=("GOOD", "BAD"),
                      value=[np.log(0.75), np.log(0.25)]) for n in range(12)]  # fmt: skip
    page = check(build(made, labels=["BAD"] * 12))
    assert "12 of 12 answers wrong" in page.section("errors")
    assert "Speak for GOOD Word" in page.section("words")
    assert f"a {plus(1)} 12 {percent(1)}" in page.section("words")


@pytest.mark.parametrize("count", [2, 12])
def test_whatever_an_explanation_holds_is_text(explained, count):
    made = [
        explained(
            [(NASTY, 1.0), (" " + NASTY, -1.0), (f" {n}", 0.5), ("[SEP]", 0.5)],
            NASTY,
            method=method,
            model=NASTY,
            foil=foil,
            warnings=(NASTY,),
            notes={NASTY: NASTY},
            options={"baseline_text": NASTY, "baseline": "text"},
        )
        for method in ("leave_one_out", NASTY)
        for foil in (None, NASTY)
        for n in range(count)
    ]
    html = build(made, NASTY, [NASTY + "!"] * len(made))
    page = check(html)
    assert "\x00" not in html
    assert "<script" not in html
    assert "<img src=x" not in html
    assert page.text.count("<script>alert(1)</script>") > 20
    html = build_comparison(made, made, NASTY, names=(NASTY, "B" + NASTY))
    assert "<script>alert(1)</script>" in check(html).section("models")


def test_two_models(explained):
    one, gold = reviews(explained, model="old", count=12)
    other, _ = reviews(explained, model="new", count=12)
    # The new model is right about the first text, and says so.
    other[0] = explained(
        [("A", 1.0), (" great", -2.0), (" film", -1.0), (" 0.", 0)], "BAD", -0.02, model="new"
    )
    page = check(build_comparison(one, other, labels=gold))
    text = page.section("models")
    assert "A is old, B is new. They give the same answer to 11 of 12 inputs." in text
    assert "A right 8 0 A wrong 1 3" in text
    assert (
        f"Record 1: gold label BAD old: answer GOOD (probability {percent(math.exp(-0.01))})."
        in text
    )
    assert f"new: answer BAD (probability {percent(math.exp(-0.02))})." in text
    assert f"old, leave_one_out and new, leave_one_out 11 {wording.number(1)}" in page.section(
        "agreement"
    )
    assert page.section("words").count("old, leave_one_out") == 2


def test_two_models_of_one_name(explained):
    made, _ = reviews(explained)
    with pytest.raises(InputError, match="names="):
        build_comparison(made, made)
    assert "A is a, B is b." in check(build_comparison(made, made, names=("a", "b"))).text
    with pytest.raises(InputError, match="two names"):
        build_comparison(made, made, names=("a", "a"))


def test_runs_are_told_apart_by_what_differs(explained):
    made = [
        explained([("a", 1.0)], method=method, options={"steps": steps})
        for method, steps in (("integrated_gradients", 20), ("integrated_gradients", 50), ("x", 20))
    ]
    report = Report()
    for one in made:
        report.add(one)
    report.to_html()
    assert [run.label for run in report.runs] == [
        "integrated_gradients, steps=20",
        "integrated_gradients, steps=50",
        "x",
    ]


def test_what_is_asked_of_each_text_does_not_part_runs(explained):
    report = Report()
    for foil in ("BAD", "UGLY"):
        report.add(explained([("a", 1.0)], foil=foil, options={"foil": foil}))
    assert len(report.runs) == 1
    report.add(explained([("a", 1.0)]))
    assert len(report.runs) == 2


def test_too_many_runs(explained):
    report = Report()
    for number in range(MOST_RUNS):
        report.add(explained([("a", 1.0)], model=str(number)))
    with pytest.raises(InputError, match=f"more than {MOST_RUNS} "):
        report.add(explained([("a", 1.0)], model="one more"))


@pytest.mark.parametrize("labels", [["GOOD"], ["GOOD"] * 4])
def test_labels_that_are_too_few_or_many(explained, labels):
    made, _ = reviews(explained, count=3)
    with pytest.raises(InputError, match="labels"):
        build(made, labels=labels)


def test_minimum(explained):
    rare = f"rare {plus(1)}"
    made = [explained([("rare", 1.0)])] + [explained([("often", 0.5)])] * 3
    assert rare in check(build(made, minimum=1)).section("words")
    for minimum in (None, 2):
        assert rare not in check(build(made, minimum=minimum)).section("words")
    assert Report().minimum_of(5000) == 25
    with pytest.raises(InputError, match="minimum is 0"):
        Report(minimum=0)


def test_long_explanations_are_left_out(explained):
    parts = [(f" w{n}", 1.0) for n in range(16_000)]
    page = check(build([explained(parts), explained(parts)], beeswarms=False))
    assert page.text.count("too long to be shown here") == 1
    assert "1 explanation is too long" in page.section("how")


# From and to files.


def lines(explained, path, about):
    made, _ = reviews(explained, count=3)
    rows = [{"record": {"number": n, **about(n)}, **json.loads(one.to_json())}
            for n, one in enumerate(made, 1)]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n", "utf-8")
    return path


def test_from_jsonl(explained, tmp_path):
    path = lines(explained, tmp_path / "a.jsonl", lambda n: {"id": f"r{n}", "label": "BAD"})
    report = Report.from_jsonl(path, title="From a file")
    assert len(report) == 3
    assert report.runs[0].judged.table == {("BAD", "GOOD"): 2, ("BAD", "BAD"): 1}
    page = check(report.to_html(tmp_path / "a.html"))
    assert "Record r1: answer GOOD" in page.section("errors")
    assert (tmp_path / "a.html").read_text("utf-8") == report.to_html()
    gold = Report.from_jsonl(path, labels={"r1": "GOOD", "r3": "BAD"})
    assert gold.runs[0].judged.table == {("GOOD", "GOOD"): 1, ("BAD", "GOOD"): 1}


def test_from_jsonl_without_ids(explained, tmp_path):
    path = lines(explained, tmp_path / "a.jsonl", lambda n: {"prediction": "GOOD", "labels": ["x"]})
    report = Report.from_jsonl(path, path)
    assert len(report) == 6
    assert [one.record for one in report.runs[0].first] == ["1", "2", "3"] * 2
    assert report.runs[0].judged.table == {("x", "GOOD"): 6}


def test_from_jsonl_of_to_json_alone(explained, tmp_path):
    made, _ = reviews(explained, count=2)
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(one.to_json() for one in made), "utf-8")
    assert len(Report.from_jsonl(path)) == 2


@pytest.mark.parametrize("line", ["{", "[]", "{}", '"text"', "3"])
def test_from_jsonl_of_something_else(explained, tmp_path, line):
    path = lines(explained, tmp_path / "a.jsonl", lambda n: {})
    path.write_text(path.read_text("utf-8").rstrip() + "\n" + line, "utf-8")
    with pytest.raises(DataError, match=r"a\.jsonl: line 4"):
        Report.from_jsonl(path)


def test_from_jsonl_of_no_file(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.jsonl: cannot be read"):
        Report.from_jsonl(tmp_path / "nothing.jsonl")


# What it leaves alone, and what it takes.


def test_nothing_stays_behind(explained):
    from matplotlib import pyplot

    made, _ = reviews(explained, count=4)
    figure = pyplot.figure()
    settings, numbers = dict(pyplot.rcParams), pyplot.get_fignums()
    np.random.seed(7)
    expected = np.random.random(3)
    np.random.seed(7)
    assert "data:image/png" in build(made)
    assert np.array_equal(np.random.random(3), expected)
    assert pyplot.gcf() is figure
    assert (dict(pyplot.rcParams), pyplot.get_fignums()) == (settings, numbers)
    pyplot.close("all")


def test_without_shap(explained, monkeypatch):
    made, _ = reviews(explained, count=4)
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(LitPluginsError, match=r"pip install 'lit-plugins\[report\]'"):
        build(made)
    assert "data:image" not in build(made, beeswarms=False)


def snippets(explained, count, offset=0):
    """Like reviews of 30 words of a vocabulary of 3000, by two methods side by side."""
    for place in range(count):
        random = np.random.default_rng(place + offset)
        words = (random.zipf(1.3, 30) % 3000).tolist()
        text = " ".join(f"w{word}" for word in words) + f" {place}"
        name = "GOOD" if place % 2 else "BAD"
        for method in ("leave_one_out", "lime"):
            scores = random.normal(size=31).tolist()
            parts = [(f" {word}", score) for word, score in zip(text.split(), scores, strict=True)]
            yield explained(parts, name, method=method)


def test_memory_is_flat_and_time_short(explained):
    report = Report(beeswarms=False)
    seconds, peaks = 0.0, []
    for count, one in enumerate(snippets(explained, 1500), 1):
        # Tracing is slow, so it is on for some of them only; what was there before does not count.
        if count in (501, 2501):
            tracemalloc.start()
        begin = time.process_time()
        report.add(one, "GOOD")
        seconds += 0 if tracemalloc.is_tracing() else time.process_time() - begin
        if count in (1000, 3000):
            peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
            tracemalloc.stop()
    assert len(report) == 3000
    check(report.to_html())
    # 500 explanations of 250 texts: some kilobytes for what waits for a counterpart, new words,
    # and words of the sample.
    assert max(peaks) < 8
    # On a busy machine too; 1.2 ms each on one that is not.
    assert seconds / 2000 < 0.02
