"""Pictures: the same bytes every time, any text, nothing outside of the sheet."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from xml.etree import ElementTree

import made
import matplotlib
import numpy as np
import pytest
from PIL import Image

from lit_plugins import display
from lit_plugins.display import canvas, flow, fonts, heatmap, pictures, view
from lit_plugins.display.colours import LIGHT, Scale
from lit_plugins.errors import LitPluginsError

BEGINNINGS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
SHOWN = {
    "text": made.random(["A", " dull", ",", " lifeless", " mess", "."]),
    "odd": made.random(made.ODD),
    "arabic": made.random(made.ARABIC),
    "unsigned": made.random(["a", " b"], signed=False),
    "matrix": made.random(["a", " b", " c"], targets=2),
    "long matrix": made.random([f" word{place}" for place in range(30)], targets=20),
    "odd matrix": made.random(made.ODD, targets=3),
    "unknown own": made.random(["a", " b"], own=()),
    "no parts": made.explanation([], [], names=()),
    "no parts of each": made.explanation([], np.zeros((2, 0))),
    "zeros": made.explanation(["a", " b"], [0, 0]),
    "one long word": made.random(["x" * 500, "漢字" * 100]),
    "hostile": made.hostile(),
}


class Sheet(canvas.Canvas):
    """A canvas that remembers what was drawn, by kind."""

    def __init__(self, width=pictures.WIDTH):
        super().__init__(width)
        self.boxes, self.texts = [], []

    def box(self, x, y, wide, high, colour):
        self.boxes.append((x, y, wide, high, colour))

    def text(self, x, y, text, size, colour=LIGHT.ink, **look):
        self.texts.append((x, y, text))


def draw_flow(explanation):
    shown = view.view(explanation)
    sheet = Sheet()
    height = flow.draw(sheet, shown.rows[0].pieces, shown.scale, pictures.MARGIN, 0.0)
    return sheet, height


@pytest.mark.parametrize("form", BEGINNINGS)
@pytest.mark.parametrize("name", SHOWN)
def test_pictures_are_the_same_every_time(name, form):
    made_once = pictures.picture(SHOWN[name], form)
    assert made_once.startswith(BEGINNINGS[form])
    assert pictures.picture(SHOWN[name], form) == made_once


@pytest.mark.parametrize("name", SHOWN)
def test_svg_is_xml_without_scripts(name):
    root = ElementTree.fromstring(pictures.picture(SHOWN[name], "svg"))
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert "svg" in tags
    assert not tags & {"script", "foreignObject", "a", "image"}


@pytest.mark.parametrize("form", BEGINNINGS)
def test_no_dates_and_no_names_of_programs(form):
    data = pictures.picture(SHOWN["text"], form)
    for word in (b"CreationDate", b"dc:date", b"Software", b"Creator", b"matplotlib.org"):
        assert word not in data


@pytest.mark.parametrize("form", BEGINNINGS)
def test_the_users_own_style_changes_nothing(form):
    plain = pictures.picture(SHOWN["text"], form)
    with matplotlib.rc_context(
        {
            "figure.facecolor": "black",
            "font.family": "serif",
            "font.size": 30,
            "font.weight": "bold",
            "path.sketch": (1, 100, 2),
            "savefig.bbox": "tight",
            "savefig.dpi": 30,
            "svg.fonttype": "none",
            "text.color": "red",
            "text.parse_math": True,
        }
    ):
        before = dict(matplotlib.rcParams)
        assert pictures.picture(SHOWN["text"], form) == plain
        assert dict(matplotlib.rcParams) == before


def test_formulas_are_text():
    svg = pictures.picture(made.random(["$x^2$", " \\frac{1}{2}", " $"]), "svg").decode()
    assert "<!-- $x^2$ \\frac{1}{2} $ -->" in svg  # matplotlib names the text that it draws


def test_colours_are_those_of_the_scores():
    def colours(explanation):
        image = Image.open(io.BytesIO(pictures.picture(explanation, "png"))).convert("RGB")
        count = image.getcolors(image.width * image.height)
        return {f"#{r:02x}{g:02x}{b:02x}" for times, (r, g, b) in count if times > 200}

    assert LIGHT.strongest["for"] in colours(made.explanation(["wonderful"], [1.0]))
    assert LIGHT.strongest["against"] in colours(made.explanation(["wonderful"], [-1.0]))
    unsigned = colours(made.explanation(["wonderful"], [1.0], signed=False))
    assert LIGHT.strongest["much"] in unsigned
    assert not unsigned & {LIGHT.strongest["for"], LIGHT.strongest["against"]}


@pytest.mark.parametrize("name", ["text", "odd", "arabic", "one long word", "hostile"])
def test_all_of_the_text_is_drawn_inside_of_the_sheet(name):
    sheet, height = draw_flow(SHOWN[name])
    assert sheet.boxes
    for x, y, wide, high, _ in sheet.boxes:
        assert x >= pictures.MARGIN - 1
        assert x + wide <= sheet.width - pictures.MARGIN + 1
        assert 0 <= y < y + high <= height + flow.LINE / 2
    drawn = "".join(text for _, _, text in sheet.texts)
    for part in SHOWN[name].parts():
        for letter in fonts.drawable(part.text.strip()):
            assert letter in drawn


def test_words_are_coloured_where_they_stand():
    """A box begins where the text before it ends."""
    sheet, _ = draw_flow(made.explanation(["Two", " words", "!"], [1.0, -1.0, 0.5]))
    [(x, _, text)] = sheet.texts
    assert text == "Two words!"
    starts = [x + canvas.width(before, flow.SIZE) for before in ("", "Two ", "Two words")]
    np.testing.assert_allclose([box[0] for box in sheet.boxes], starts, atol=1.0)
    ends = [x + canvas.width(upto, flow.SIZE) for upto in ("Two", "Two words", "Two words!")]
    np.testing.assert_allclose([box[0] + box[2] for box in sheet.boxes], ends, atol=1.0)
    scale = view.view(made.explanation(["a"], [1.0])).scale
    assert [box[4] for box in sheet.boxes] == [scale.colour(one) for one in (1.0, -1.0, 0.5)]


def test_from_the_right():
    """Words go to the left, a foreign word among them is read from the left, in its place."""
    texts = ["שלום", " עולם", " two", " words", " סוף"]
    scores = [1.0, 0.8, 0.6, 0.4, 0.2]
    sheet, _ = draw_flow(made.explanation(texts, scores))
    scale = Scale.of(np.array(scores), signed=True)
    starts = {colour: x for x, _, _, _, colour in sheet.boxes}
    first, second, two, words, last = (starts[scale.colour(score)] for score in scores)
    assert first > second > words > two > last
    edge = max(x + wide for x, _, wide, _, _ in sheet.boxes)
    assert edge == pytest.approx(sheet.width - pictures.MARGIN, abs=1)


def test_a_foreign_word_in_a_text_from_the_left():
    sheet, _ = draw_flow(made.explanation(["one", " שלום", " עולם", " two"], [4, 3, 2, 1]))
    one, first, second, two = (box[0] for box in sheet.boxes)
    assert one < second < first < two


def test_lines_break_at_line_breaks():
    sheet, height = draw_flow(made.explanation(["One\n", "two\n\n", "three"], [1.0, 2.0, 3.0]))
    assert [text for _, _, text in sheet.texts if text] == ["One", "two", "three"]
    assert height == 4 * flow.LINE


def test_a_text_that_is_too_long_says_so(monkeypatch):
    monkeypatch.setattr(flow, "MOST_LINES", 2)
    sheet, height = draw_flow(made.random([f" word{place}" for place in range(100)]))
    assert "to_html()" in sheet.texts[-1][2]
    assert height == 3 * flow.LINE
    sheet, height = draw_flow(made.random([" word"] * 12))
    assert "to_html()" not in sheet.texts[-1][2]


def test_what_no_font_has_is_a_box():
    assert fonts.drawable("a\U0010fffd漢") in ("a□漢", "a□□")
    assert fonts.drawable("👩\u200d👩") in ("👩\u200d👩", "👩👩", "□□", "□\u200d□")
    assert fonts.drawable("e\u0301 – “é” ß") == "e\u0301 – “é” ß"


def test_a_matrix_has_parts_beside_targets():
    scores = np.arange(6.0).reshape(2, 3)
    grid = heatmap.grid(view.view(made.explanation(["a", " b", " c"], scores)))
    assert (grid.rows, grid.columns) == (["LABEL_0", "LABEL_1"], ["a", "b", "c"])
    assert grid.scores == scores.tolist()


def test_of_many_parts_each_has_a_line():
    scores = np.arange(40.0).reshape(2, 20)
    shown = view.view(made.explanation([f" w{place}" for place in range(20)], scores))
    grid = heatmap.grid(shown)
    assert grid.columns == ["LABEL_0", "LABEL_1"]
    assert grid.scores == scores.T.tolist()


def test_a_matrix_that_is_too_large_says_so():
    explanation = made.random([f" w{place}" for place in range(500)], targets=70)
    shown = view.view(explanation)
    grid = heatmap.grid(shown)
    assert np.shape(grid.scores) == (heatmap.MOST_ROWS, heatmap.MOST_COLUMNS)
    assert grid.left_out == "Of 500 parts and 70 targets, the first."
    sheet = Sheet(2 * pictures.MARGIN + grid.least)
    heatmap.draw(sheet, grid, shown, pictures.MARGIN, 0.0)
    assert max(x + wide for x, _, wide, _, _ in sheet.boxes) <= sheet.width - pictures.MARGIN


def test_warnings_are_in_the_picture():
    svg = pictures.picture(made.random(["a"], warnings=("Mind the gap.",)), "svg").decode()
    assert "Beware: Mind the gap." in svg


def test_threads_draw_the_same():
    alone = [pictures.picture(SHOWN["text"], form) for form in BEGINNINGS]
    found = {}

    def work(number):
        found[number] = [pictures.picture(SHOWN["text"], form) for form in BEGINNINGS]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(3)] == [alone] * 3


def test_unknown_format():
    with pytest.raises(LitPluginsError, match="png, svg or pdf"):
        pictures.picture(SHOWN["text"], "gif")  # type: ignore[arg-type]


def test_without_matplotlib(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in ("pictures", "canvas", "flow", "heatmap", "fonts"):
        monkeypatch.delitem(sys.modules, f"lit_plugins.display.{name}")
        monkeypatch.delattr(display, name)
    with pytest.raises(LitPluginsError, match=r"pip install 'lit-plugins\[report\]'"):
        made.random(["a"]).to_png()


def test_another_process_draws_the_same():
    """Whatever order its sets have."""
    code = (
        "import hashlib, made; from lit_plugins.display import pictures; "
        "print([hashlib.sha256(pictures.picture(made.random(made.ODD, targets=targets), form))"
        ".hexdigest() for form in ('png', 'svg', 'pdf') for targets in (None, 3)])"
    )
    path = os.pathsep.join([entry for entry in sys.path if entry])
    drawn = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(drawn) == 1
