"""LIT's client that we know, one that looks like it, and one that does not."""

import logging
import re
import shutil
from importlib import metadata
from pathlib import Path

import pytest
from lit_nlp.api import layout as lit_layout
from werkzeug.test import Client

from lit_plugins import layouts
from lit_plugins.server import build, guard, lit_client

SCRIPT = "lit_plugins/client/main.js"
STYLE = "lit_plugins/client/fonts.css"
OURS = {module.element for module in layouts.OUR_MODULES.values()}


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of LIT's client, to be changed."""
    for name in lit_client.HASHES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(lit_client.ROOT / name, tmp_path / name)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_the_installed_client_is_known(caplog):
    with caplog.at_level(logging.WARNING):
        assert lit_client.is_known(lit_client.ROOT)
    assert caplog.text == ""
    assert metadata.version("lit-nlp") == lit_client.VERSION


@pytest.mark.parametrize("file", lit_client.NAMES)
def test_every_name_is_in_the_known_client(file):
    text = (lit_client.ROOT / file).read_text("utf-8")
    assert [name for name in lit_client.NAMES[file] if name not in text] == []


def test_every_name_declared_for_tsc_is_in_the_known_client():
    declared = (guard.CLIENT_FOLDER / "lit" / "lit.d.ts").read_text("utf-8")
    declared = re.sub(r"/\*.*?\*/", "", declared, flags=re.DOTALL)
    pattern = r"^  (?:static |readonly |get )*(\w+)\??[:(<]"
    names = set(re.findall(pattern, declared, re.MULTILINE)) - {"litPluginsLayout"}
    assert len(names) > 40
    text = (lit_client.ROOT / "main.js").read_text("utf-8")
    assert [name for name in names if name not in text] == []


def test_another_build_with_all_names_is_used_with_a_warning(copy, caplog, make_app, echo):
    change(copy / "main.js", "LIT", "lit")
    server = Client(guard.Guard(make_app(echo, copy)))
    assert SCRIPT in server.get("/").text
    assert lit_client.is_known(copy)
    [record] = caplog.records  # said once, in one line
    message = record.getMessage()
    assert "\n" not in message
    assert "main.js has the SHA-256 " in message
    assert lit_client.HASHES["main.js"][:12] in message
    assert "lit-nlp==1.3.1" in message
    assert "static/index.html" not in message


@pytest.mark.parametrize(
    ("file", "name"), [("main.js", "runInterpreter"), ("static/index.html", 'src="main.js"')]
)
def test_another_build_without_a_name_is_served_as_it_is(copy, caplog, make_app, echo, file, name):
    change(copy / file, name, "other")
    page = Client(guard.Guard(make_app(echo, copy))).get("/").text
    assert SCRIPT not in page
    assert STYLE in page
    assert "https://fonts" not in page
    assert not lit_client.is_known(copy)
    [record] = caplog.records
    message = record.getMessage()
    assert "\n" not in message
    assert f"It lacks {name}, which" in message
    assert f"expected {lit_client.HASHES[file][:12]}" in message
    assert "Install lit-nlp==1.3.1" in message


def test_a_client_that_cannot_be_read(tmp_path, caplog):
    assert not lit_client.is_known(tmp_path / "nowhere")
    assert "and" in caplog.text
    assert "more, which our modules use" in caplog.text


def test_layouts_name_only_what_the_page_has(tmp_path):
    text = '[upper]\nA = ["SignedSequenceSalienceModule", "SalienceHeatMapModule"]\n'
    (tmp_path / "mine.toml").write_text(text, "utf-8")
    made = build.page_layouts([tmp_path], "mine")
    assert set(made["mine"].upper["A"]) <= OURS
    stock = build.page_layouts([tmp_path], "mine", ours=False)
    assert stock["mine"].upper == {"A": ["sequence-salience-module"]}
    assert set(stock) == {*lit_layout.DEFAULT_LAYOUTS, "mine"}
