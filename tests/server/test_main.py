"""The command line: flags, help, errors, --check, and stopping."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest
from absl import flags

from lit_plugins import sources
from lit_plugins.errors import SourceError
from lit_plugins.server import build
from lit_plugins.server import main as main_module
from lit_plugins.server.main import _define_flags, _read, main
from lit_plugins.sources import parse_model

ROOT = Path(__file__).parent.parent.parent


def read(*argv):
    return _read(_define_flags(), argv)


def fails(capsys, *argv):
    """The one line on stderr of a call that must end with exit code 2."""
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.strip().splitlines()
    assert line.startswith("error: ")
    return line


# Flags


def test_without_arguments():
    setup = read()
    assert setup.models == tuple(map(parse_model, build.DEFAULT_MODELS))
    assert {"menu_advice", "grade_school_maths"} <= {spec.name for spec in setup.datasets}
    assert setup.lit["server_type"] == "lit_plugins"
    assert setup.lit["page_title"] == "Prompt debugging"
    assert setup.lit["strict_cache_id_validation"] is True
    assert setup.lit["development_demo"] is False
    assert setup.load == "background"
    assert setup.data_folders == ()


def test_flags(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    setup = read(
        "--models=a=hf:x/y?dtype=float32,device=cpu,b=keras:gemma3_270m",
        "--models=c=hf:packaged:smollm2-135m-instruct",
        "--datasets=mine=x.jsonl?max_examples=2,chat",
        "--max_examples=7",
        f"--layouts_dir={tmp_path}",
        f"--data_folders={tmp_path}",
        "--keras_backend=tensorflow",
        "--port=1234",
        "--load=first_use",
    )
    assert [spec.name for spec in setup.models] == ["a", "b", "c"]
    assert setup.models[0].options.device == "cpu"
    assert [spec.options.max_examples for spec in setup.datasets] == [2, 7]
    assert setup.layout_folders[-1] == tmp_path
    assert setup.data_folders == (tmp_path,)
    assert os.environ["KERAS_BACKEND"] == "tensorflow"
    assert setup.lit["port"] == 1234
    assert setup.load == "first_use"
    assert "hf:x/y" in setup.allowed_models
    assert "hf:packaged:*" in setup.allowed_models
    assert read("--allowed_models=hf:a/*,hf:b").allowed_models == ("hf:a/*", "hf:b")
    assert read("--allowed_models=").allowed_models == ()


def test_each_call_starts_afresh():
    read("--port=1234", "--models=a=hf:x")
    setup = read()
    assert setup.lit["port"] == 5432
    assert len(setup.models) == len(build.DEFAULT_MODELS)
    assert "models" not in flags.FLAGS  # LIT's own examples define flags of these names
    assert flags.FLAGS["page_title"].default is None


def test_flags_win_over_the_file(tmp_path):
    file = tmp_path / "lit.toml"
    file.write_text(
        '[server]\nport = 1\nhost = "::1"\npage_title = "File"\nmax_examples = 3\n'
        '[models]\nfrom_file = "hf:x"\n[datasets]\nd = "d.jsonl"\n'
    )
    setup = read(f"--config={file}", "--port=2", "--page_title=Flag")
    assert (setup.lit["port"], setup.lit["host"], setup.lit["page_title"]) == (2, "::1", "Flag")
    assert [spec.name for spec in setup.models] == ["from_file"]
    assert [spec.name for spec in setup.datasets] == ["d"]
    assert setup.datasets[0].options.max_examples == 3
    setup = read(f"--config={file}", "--models=from_flag=hf:x", "--datasets=chat")
    assert [spec.name for spec in setup.models] == ["from_flag"]
    assert [spec.name for spec in setup.datasets] == ["chat"]


@pytest.mark.parametrize("argument", ["--help", "-h", "-help", "--helpshort"])
def test_help(capsys, argument):
    assert main([argument, "--nonsense"]) == 0
    text = capsys.readouterr().out
    assert text.index("python launch.py") < text.index("--models") < text.index("--port")
    names = re.findall(r"^  --(?:\[no\])?(\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names))
    assert {"config", "check", "layouts_dir", "allowed_models", "host", "warm_start"} <= set(names)
    assert max(map(len, text.splitlines())) <= 100
    assert "repeat this option" not in text


def test_helpfull(capsys):
    assert main(["--helpfull"]) == 0
    assert "--[no]check" in capsys.readouterr().out


# Errors


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--prot=3"], ["prot", "Did you mean: port"]),
        (["--port=x"], ["--port=x"]),
        (["--port=70000"], ["65535"]),
        (["--warm_start=2"], ["from 0 to 1"]),
        (["serve"], ["Unexpected argument 'serve'"]),
        (["--load=later"], ["later", "first_use"]),
        (["--models=a=foo:b"], ["foo", "hf, keras"]),
        (["--models=gpt2"], ["gpt2", "NAME=FRAMEWORK:SOURCE"]),
        (["--models=a=hf:packaged:gemma"], ["gemma", "Available"]),
        (["--models=a=hf:./nowhere"], ["nowhere", "does not exist", "Check the path"]),
        (["--models=a=hf:./half"], ["half", "no complete model", "weights"]),
        (["--models=a=hf:./no.gguf"], ["no.gguf", "cannot be read"]),
        (["--models=a=keras:./broken.gguf"], ["broken.gguf", "not a GGUF file"]),
        (["--models=a=hf:gpt2?chat=no.jinja"], ["no.jinja", "does not exist"]),
        (["--models=a=hf:x,a=hf:y"], ["Two models are named 'a'"]),
        (["--datasets=a=x.jsonl,a=y.txt"], ["Two datasets are named 'a'"]),
        (["--datasets=a=nothing.jsonl"], ["nothing.jsonl"]),
        (["--max_examples=0"], ["max_examples"]),
        (["--layouts_dir=nowhere"], ["nowhere"]),
        (["--data_folders=nowhere"], ["nowhere"]),
        (["--default_layout=prompt_left_rigth"], ["Did you mean 'prompt_left_right'?"]),
        (["--config=nowhere.toml"], ["nowhere.toml"]),
        (["--client_root=nowhere"], ["nowhere"]),
        (["--server_type=other"], ["other", "lit_plugins"]),
        (["--keras_backend=jax"], ["jax", "tensorflow"]),
        (["--check", "--datasets"], ["datasets"]),
    ],
)
def test_mistakes(capsys, monkeypatch, tmp_path, argv, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.gguf").write_bytes(b"no model at all")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    line = fails(capsys, *argv)
    for word in words:
        assert word in line


def test_a_broken_dataset(capsys, tmp_path):
    path = tmp_path / "broken.jsonl"
    path.write_text('{"prompt": "fine"}\n{"prompt": 5}\n')
    line = fails(capsys, f"--datasets=a={path}")
    assert "broken.jsonl" in line
    assert "2" in line
    assert "prompt" in line


def test_port_in_use(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = fails(capsys, f"--port={port}", "--datasets=chat")
    assert f"Port {port}" in line
    assert "--port" in line


def test_a_model_that_must_be_there_before(capsys, monkeypatch):
    def open_model(spec):
        raise SourceError("No weights.")

    monkeypatch.setattr("lit_plugins.components.language_models.open_model", open_model)
    line = fails(capsys, "--load=before", "--models=a=hf:x", "--port=0")
    assert "No weights." in line


def test_interrupted_before_it_serves(capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module, "_serve", interrupted)
    assert main([]) == 130
    assert capsys.readouterr().err == "Stopped.\n"


# --check


class Answering:
    def predict(self, inputs):
        return [{"response": "ok"} for _ in inputs]

    def explanations(self, examples, outputs, wanted):
        assert examples == [{"prompt": "The capital of France is", "target": "ok"}]
        return [types.SimpleNamespace(tokens=("a", "b"))]

    def special_tokens(self):
        return frozenset()

    def in_words(self, output):
        return repr(output["response"])


def test_check(capsys, monkeypatch, tmp_path):
    def fake_models(specs):
        [spec] = specs
        assert spec.options.max_new_tokens == 4
        if spec.name == "bad":
            raise SourceError("No weights.")
        if spec.name == "worse":
            raise ZeroDivisionError
        return {}, {spec.name: Answering()}

    monkeypatch.setattr(build, "models", fake_models)
    assert main(["--check", "--models=good=hf:x"]) == 0
    table = capsys.readouterr().out
    assert re.search(r"^good +model +ok +\d+\.\d s +'ok', salience of 2 tokens$", table, re.M)
    assert re.search(r"^chat +dataset +ok +\d+\.\d s +\d+ examples$", table, re.M)
    assert re.search(r"^layouts +layouts +ok .*prompt_left_right", table, re.M)

    (tmp_path / "x.toml").write_text("nonsense")
    argv = ["--check", "--models=bad=hf:x,worse=hf:y,good=hf:z", f"--layouts_dir={tmp_path}"]
    assert main([*argv, "--datasets=d=nothing.jsonl"]) == 1
    table = capsys.readouterr().out
    assert re.search(r"^bad +model +failed +\d+\.\d s +No weights\.$", table, re.M)
    assert re.search(r"^worse +model +failed .*ZeroDivisionError", table, re.M)
    assert re.search(r"^good +model +ok ", table, re.M)
    assert re.search(r"^d +dataset +failed .*nothing.jsonl", table, re.M)
    assert re.search(r"layouts +failed .*no valid TOML", table, re.M)


# What the page's dialog may load


def test_the_dialogs_default_is_something_allowed():
    _, spec = build.model_loader(["hf:packaged:*", "hf:gpt2"])
    assert spec["source"].default == "hf:gpt2"


@pytest.mark.parametrize(
    "source", ["hf:/models/../etc", "hf:/elsewhere", "keras:/models/x", "hf:/models"]
)
def test_patterns_do_not_lead_outside(source):
    load, _ = build.model_loader(["hf:/models/*"])
    with pytest.raises(sources.SpecError, match="may not be loaded"):
        load(new_name="a", source=source)


# A real process

SLOW = """
import sys, time
from lit_plugins.components import language_models
def open_model(spec):
    if spec.name == "broken":
        raise ZeroDivisionError("secret")
    time.sleep(60)
language_models.open_model = open_model
from lit_plugins.server.main import run
run()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_page_is_up_while_models_load_and_stops_at_once(tmp_path, number):
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    command = [sys.executable, str(script), "--port=0", "--datasets=chat"]
    process = subprocess.Popen(
        [*command, "--models=broken=hf:x,slow=hf:y"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": ""},
        # A test run that is itself in the background ignores Ctrl-C, and would pass that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        port = int(re.search(r":(\d+) ", process.stdout.readline())[1])

        def ask(method, path, body=None):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            with contextlib.closing(connection):
                connection.request(method, path, body)
                response = connection.getresponse()
                return response.status, response.read().decode()

        assert ask("GET", "/")[0] == 200
        info = json.loads(ask("GET", "/get_info")[1])
        assert {"slow", "_slow_salience", "_slow_tokenizer"} <= set(info["models"])
        assert "prompt_left_right" in info["layouts"]
        status = json.loads(ask("GET", "/lit_plugins/status")[1])["models"]
        assert status["broken"]["state"] == "failed"
        assert "ZeroDivisionError" in status["broken"]["message"]
        assert status["slow"]["state"] == "loading"

        body = json.dumps({"inputs": [{"id": "", "data": {"prompt": "x", "_id": ""}}]})
        status, text = ask("POST", "/get_preds?model=broken&dataset_name=chat", body)
        assert status == 400
        assert text.startswith("'broken' cannot be loaded")

        def waiting():
            with pytest.raises((OSError, http.client.HTTPException)):
                ask("POST", "/get_preds?model=slow&dataset_name=chat", body)

        thread = threading.Thread(target=waiting)
        thread.start()
        time.sleep(0.3)
        begin = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=10)
        assert time.monotonic() - begin < 1
        thread.join(5)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert err.endswith("Stopped.\n")
    # The one traceback of the broken model's load, for whoever runs the server.
    assert err.count("Traceback") == 1
    assert "KeyboardInterrupt" not in err


@pytest.mark.parametrize(("outcome", "code"), [("return 3", 3), ("raise ValueError('oops')", 1)])
def test_nothing_keeps_an_ended_process(outcome, code):
    program = f"""
import threading, time
from lit_plugins.server import main
def fake(argv=None):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    print("said")
    {outcome}
main.main = fake
main.run()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=30
    )
    assert (done.returncode, done.stdout) == (code, "said\n")
    assert ("ValueError: oops" in done.stderr) == (code == 1)
