"""What the client finds that two texts have in common: its own code, run by node."""

from __future__ import annotations

import itertools
import json
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

DIFF = Path(__file__).resolve().parents[1] / "lit_plugins/client/core/diff.js"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="no node, which runs the client here")

# Calls in, results out: [name, arguments] each.
SCRIPT = """
import * as diff from './diff.mjs';
import {readFileSync} from 'node:fs';
const calls = JSON.parse(readFileSync(0, 'utf-8'));
process.stdout.write(JSON.stringify(calls.map(([name, ...given]) => diff[name](...given))));
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    # Node takes a .js file for CommonJS where no package.json says otherwise.
    folder = tmp_path_factory.mktemp("diff")
    (folder / "diff.mjs").write_text(DIFF.read_text("utf-8"), "utf-8")
    (folder / "run.mjs").write_text(SCRIPT, "utf-8")
    return folder


@pytest.fixture(scope="module")
def run(folder):
    def run(calls: list[list[Any]]) -> list[Any]:
        assert NODE
        done = subprocess.run(
            [NODE, "run.mjs"],
            cwd=folder,
            input=json.dumps(calls),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def longest(a: list[str], b: list[str]) -> int:
    """The length of a longest common subsequence, as its definition has it."""
    row = [0] * (len(b) + 1)
    for one in a:
        before = row
        row = [0]
        for place, other in enumerate(b):
            row.append(before[place] + 1 if one == other else max(row[-1], before[place + 1]))
    return row[-1]


def random_texts(seed: int, most: int = 40) -> tuple[list[str], list[str]]:
    chance = random.Random(seed)
    letters = "abcdefgh"[: chance.randint(1, 8)]
    a = chance.choices(letters, k=chance.randint(0, most))
    if seed % 3 == 0:  # an edited text
        b = [one for one in a if chance.random() > 0.2]
        for _ in range(chance.randint(0, 5)):
            b.insert(chance.randint(0, len(b)), chance.choice(letters + "xyz"))
        return a, b
    return a, chance.choices(letters, k=chance.randint(0, most))


def check_common(a: list[str], b: list[str], pairs: list[list[int]]) -> None:
    assert all(a[i] == b[j] for i, j in pairs)
    assert all(i < k and j < m for (i, j), (k, m) in itertools.pairwise(pairs))
    assert len(pairs) == longest(a, b)


def test_common_is_longest_in_order_and_equal(run):
    texts = [random_texts(seed) for seed in range(300)]
    for (a, b), pairs in zip(texts, run([["common", a, b] for a, b in texts]), strict=True):
        check_common(a, b, pairs)


def test_long_texts_are_divided(run):
    chance = random.Random(1)
    a, b = ([str(chance.randint(0, 60)) for _ in range(1500)] for _ in range(2))
    edited = [*a[:200], "new", *a[205:900], *a[950:]]
    first, second = run([["common", a, b], ["common", a, edited]])
    check_common(a, b, first)
    check_common(a, edited, second)


def test_alignment_loses_nothing(run):
    texts = [random_texts(seed, 20) for seed in range(200)]
    for (a, b), pairs in zip(texts, run([["align", a, b] for a, b in texts]), strict=True):
        assert [pair["a"] for pair in pairs if pair["a"] is not None] == list(range(len(a)))
        assert [pair["b"] for pair in pairs if pair["b"] is not None] == list(range(len(b)))
        for pair in pairs:
            one, other = pair["a"], pair["b"]
            assert (one is None) == (pair["kind"] == "b")
            assert (other is None) == (pair["kind"] == "a")
            if pair["kind"] in ("equal", "changed"):
                assert (a[one] == b[other]) == (pair["kind"] == "equal")
        assert sum(pair["kind"] == "equal" for pair in pairs) == longest(a, b)


def test_changed_lines_find_their_old_form(run):
    a = ["Likes: cheese", "Recommendation: You have to try it.", "Dish: soup", "The end."]
    b = ["Likes: cheese", "Price: high", "Recommendation: Avoid it.", "The end."]
    [pairs] = run([["align", a, b]])
    assert [(pair["kind"], pair["a"], pair["b"]) for pair in pairs] == [
        ("equal", 0, 0),
        ("b", None, 1),
        ("changed", 1, 2),
        ("a", 2, None),
        ("equal", 3, 3),
    ]


def test_white_space_makes_no_difference(run):
    [pairs] = run([["align", ["\n\na  b", "\n", "c"], ["a b ", "\n", "c"]]])
    assert [pair["kind"] for pair in pairs] == ["equal"] * 3


def plain(runs: list[dict], marks: str = "[]") -> str:
    left, right = marks
    return "".join(f"{left}{one['text']}{right}" if one["marked"] else one["text"] for one in runs)


@pytest.mark.parametrize(
    ("a", "b", "shown_a", "shown_b"),
    [
        ("You have to try it.", "Avoid it.", "[You have to try] it.", "[Avoid] it."),
        ("same", "same", "same", "same"),
        ("", "new words", "", "[new words]"),
        ("a b c", "a  b\nc", "a b c", "a  b\nc"),
        ("wait, what", "wait what", "wait[,] what", "wait what"),
        ("猫が好き", "犬が好き", "[猫]が好き", "[犬]が好き"),
        ("<b>x</b>", "<i>x</i>", "<[b]>x</[b]>", "<[i]>x</[i]>"),
    ],
)
def test_words_that_differ(run, a, b, shown_a, shown_b):
    [made] = run([["words", a, b]])
    assert plain(made["a"]) == shown_a
    assert plain(made["b"]) == shown_b


def test_words_keep_every_sign(run):
    chance = random.Random(2)
    texts = [
        tuple("".join(chance.choices("ab é字,.\n\t'x1", k=chance.randint(0, 60))) for _ in "ab")
        for _ in range(200)
    ]
    for (a, b), made in zip(texts, run([["words", a, b] for a, b in texts]), strict=True):
        assert plain(made["a"], "  ").replace(" ", "") == a.replace(" ", "")
        assert "".join(one["text"] for one in made["a"]) == a
        assert "".join(one["text"] for one in made["b"]) == b
        kept = [
            re.sub(r"\s", "", "".join(one["text"] for one in runs if not one["marked"]))
            for runs in (made["a"], made["b"])
        ]
        assert kept[0] == kept[1], "what is not marked is the same"


def test_runs_are_divided_by_parts(run):
    runs = [{"text": "ab ", "marked": False}, {"text": "cd ef", "marked": True}]
    [made] = run([["divided", runs, ["ab", " cd", " e", "f"]]])
    assert [plain(one) for one in made] == ["ab", "[cd]", "[e]", "[f]"]
