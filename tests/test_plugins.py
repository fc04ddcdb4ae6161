"""Plugins: the example package of the docs, installed and used; and what must not hurt."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lit_plugins import datasets, plugins, records
from lit_plugins.attribution.methods import METHODS
from lit_plugins.models.kinds import KINDS

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "docs" / "example-plugin"

# What somebody with the plugin installed does, in a process of their own.
SESSION = """
import json, logging, sys
logging.basicConfig(level=logging.WARNING)
import encoders
import lit_plugins
from lit_plugins import datasets, plugins
from lit_plugins.server import build
from lit_plugins import resources

loaded = plugins.load()
model, tokenizer = encoders.bert("SequenceClassification"), encoders.tokenizer()
explainer = lit_plugins.load(model, tokenizer, task="intent")
why = explainer("play something", method="midpoint", output="logit")
one = explainer(
    "play something", method="integrated_gradients", output="logit", steps=1, baseline="zero",
    rule="riemann_middle",
)
again = lit_plugins.Explanation.from_json(why.to_json())
table = datasets.load(sys.argv[1])
print(json.dumps({
    "loaded": loaded,
    "fields": explainer.fields,
    "task": explainer.task,
    "scores": why.scores.tolist(),
    "expected": one.scores.tolist(),
    "same": again == why,
    "samples": sorted(datasets.samples()),
    "records": [dict(one) for one in table.examples],
    "record task": table.task,
    "layouts": sorted(build.page_layouts([resources.folder("layouts")], "utterances")),
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The example and two broken plugins, installed into a folder."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--target", str(folder), str(EXAMPLE)],
        check=True,
    )  # fmt: skip
    for name, body in {
        "raises": "def register(add): raise RuntimeError('on strike')",
        "taken": "def register(add):\n    from lit_plugins.attribution.methods import METHODS\n"
        "    add.method(METHODS['grad_l2'])",
    }.items():
        (folder / f"{name}.py").write_text(body)
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[lit_plugins]\n{name} = {name}:register\n")
    return folder


def run(installed: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = [str(installed), str(ROOT), str(ROOT / "tests" / "helpers")]
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_example_works_and_the_broken_ones_do_not_hurt(installed, tmp_path):
    file = tmp_path / "wishes.ini"
    file.write_text("[one]\nutterance = play it\nlabel = A\n[two]\nutterance = stop\nlabel = B\n")
    ran = run(installed, SESSION, str(file))
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["loaded"] == ["example"]
    assert found["fields"] == ["utterance"]
    assert found["task"] == "intent"
    assert found["scores"] == pytest.approx(found["expected"], rel=1e-5)
    assert any(found["scores"])
    assert found["same"]
    assert "requests" in found["samples"]
    assert "chat" in found["samples"]
    assert found["records"] == [
        {"utterance": "play it", "label": "A"}, {"utterance": "stop", "label": "B"}
    ]  # fmt: skip
    assert found["record task"] == "intent"
    assert {"utterances", "classification"} <= set(found["layouts"])
    assert "Plugin 'raises' is left out: RuntimeError('on strike')" in ran.stderr
    assert "Plugin 'taken' is left out: There is a method 'grad_l2' already." in ran.stderr
    assert "Traceback" not in ran.stderr


def test_importing_the_package_loads_no_plugin(installed):
    code = "import lit_plugins, sys; print({'example_plugin', 'torch'} & sys.modules.keys())"
    assert run(installed, code).stdout.strip() == "set()"


@pytest.fixture
def tables():
    """The tables as they are, whatever a test adds."""
    rows: list[dict] = [METHODS, KINDS, records.TASKS, datasets.READERS]
    before = [dict(one) for one in rows]
    yield before
    for one, kept in zip(rows, before, strict=True):
        one.clear()
        one.update(kept)


@pytest.mark.parametrize(
    ("register", "message"),
    [
        ("no function", "is str. Expected a function"),
        (lambda add: add.method("mine"), r"method\(\) got str. Expected a Method"),
        (lambda add: add.kind(KINDS["zero-shot"]), "a task 'zero-shot' already"),
        (lambda add: add.record_task(records.TASKS["zero-shot"]), "'zero-shot' already"),
        (lambda add: add.reader(".csv", list), "reader of '.csv' already"),
        (lambda add: add.reader("xml", list), "such as '.xml'"),
        (lambda add: add.dataset_folder("/nowhere"), "'/nowhere' is no folder"),
        (lambda add: add.layout_folder("/nowhere"), "/nowhere: is no folder"),
        (lambda add: add.layout_folder(ROOT / "layouts"), "classification"),
    ],
)
def test_all_or_nothing(register, message, tables):
    from lit_plugins.errors import LitPluginsError

    row = METHODS["grad_l2"]

    def with_a_good_one(add):
        import dataclasses

        add.method(dataclasses.replace(row, name="fine"))
        register(add)

    given = register if isinstance(register, str) else with_a_good_one
    with pytest.raises(LitPluginsError, match=message):
        plugins.add(given)
    assert [dict(one) for one in (METHODS, KINDS, records.TASKS, datasets.READERS)] == tables
    assert not plugins.LAYOUT_FOLDERS
    assert not plugins.DATASET_FOLDERS


def test_a_reader_that_fails_names_the_file(tables, tmp_path, caplog):
    def read(file):
        yield {"text": "good"}
        yield {"text": object()}
        raise RuntimeError("on strike")

    plugins.add(lambda add: add.reader(".odd", read))
    path = tmp_path / "data.odd"
    path.write_text("")
    with pytest.raises(datasets.DataError, match=r"data\.odd.*reader of \.odd.*on strike"):
        datasets.load(path)

    def half(file):
        yield {"text": "good"}
        yield {"text": object()}

    datasets.READERS[".odd"] = half
    with pytest.raises(datasets.DataError, match=r"data\.odd:2: 'text': .*no JSON value"):
        datasets.load(path)
    assert datasets.load(path, skip_bad=True).bad == 1


def test_a_plugin_that_cannot_be_imported(caplog):
    def find():
        raise ModuleNotFoundError("No module named 'gone'")

    with caplog.at_level(logging.WARNING):
        assert not plugins._load("gone", find)
    assert "Plugin 'gone' is left out" in caplog.text
