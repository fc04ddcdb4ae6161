"""A tiny classifier on the disk, and how a command is given."""

from __future__ import annotations

import encoders
import pytest
from cli_texts import write_texts

from lit_plugins.cli.main import main


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    """The spec of a tiny classifier in a folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    encoders.classifier().model.save_pretrained(folder)
    encoders.tokenizer().save_pretrained(folder)
    return f"hf:{folder}"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def give(capsys):
    """Give a command: exit code, standard output, standard error."""

    def command(*arguments):
        code = main([str(one) for one in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture
def fails(give):
    """The one line on stderr of a command that must end with exit code 2."""

    def command(*arguments):
        code, out, err = give(*arguments)
        assert (code, out) == (2, ""), err
        lines = err.splitlines()
        assert len(lines) == 1, err
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")

    return command


@pytest.fixture
def texts(here):
    """Writes a file of so many records."""
    return lambda count, name="in.jsonl", **more: write_texts(here / name, count, **more)
