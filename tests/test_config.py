"""lit.toml: what it may say, and what is said about mistakes in it."""

from pathlib import Path

import pytest

from lit_plugins import datasets
from lit_plugins.errors import ConfigError
from lit_plugins.server import config, main

KNOWN = main._define_flags()


def read(tmp_path: Path, text: str | bytes) -> config.Config:
    path = tmp_path / "lit.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return config.read(path, {name: KNOWN[name] for name in KNOWN})


def test_everything(tmp_path):
    (tmp_path / "weights").mkdir()
    read_back = read(
        tmp_path,
        """
        [server]
        port = 6001
        page_title = "Ours"
        warm_start = 1
        strict_cache_id_validation = false
        validate = "first"
        layouts_dir = "layouts"
        data_folders = ["data", "/srv/data"]
        allowed_models = ["hf:packaged:*"]
        keras_backend = "tensorflow"
        load = "before"
        data_dir = ""

        [models]
        plain = "hf:packaged:smollm2-135m-instruct?max_new_tokens=9"
        table = { source = "hf:weights", dtype = "bfloat16", stop = ["a", "b"], chat = "t.jinja" }
        file = "hf:sub/model.gguf"
        hub = "hf:google/gemma"

        [datasets]
        mine = "prompts.jsonl"
        sample = { path = "menu_advice", max_examples = 3 }
        other = { path = "/data/x.csv?skip_bad=true", columns = { q = "prompt" } }
        """,
    )
    assert read_back.server == {
        "port": 6001,
        "page_title": "Ours",
        "warm_start": 1.0,
        "strict_cache_id_validation": False,
        "validate": type(read_back.server["validate"]).FIRST,
        "layouts_dir": [str(tmp_path / "layouts")],
        "data_folders": [str(tmp_path / "data"), "/srv/data"],
        "allowed_models": ["hf:packaged:*"],
        "keras_backend": "tensorflow",
        "load": "before",
        "data_dir": "",
    }
    plain, table, file, hub = read_back.models
    assert (plain.name, plain.options.max_new_tokens) == ("plain", 9)
    assert (table.name, table.source) == ("table", str(tmp_path / "weights"))
    assert (table.options.dtype, table.options.stop) == ("bfloat16", ("a", "b"))
    assert table.options.chat == str(tmp_path / "t.jinja")
    assert file.source == str(tmp_path / "sub" / "model.gguf")
    assert hub.source == "google/gemma"
    mine, sample, other = read_back.datasets
    assert mine.path == tmp_path / "prompts.jsonl"
    assert sample.path == datasets.samples()["menu_advice"]
    assert sample.options.max_examples == 3
    assert (other.path, other.options.skip_bad) == (Path("/data/x.csv"), True)
    assert other.options.columns == {"q": "prompt"}


def test_empty(tmp_path):
    assert read(tmp_path, "") == config.Config({}, (), ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nport = 1\nport = 2", ["no valid TOML", "line 3"]),
        ("[server\n", ["no valid TOML", "line 1"]),
        (b"\xff\xfe", ["UTF-8"]),
        ("a = " + "[" * 100_000, ["deeply"]),
        ("[modles]\n", ["modles: unknown key", "Did you mean 'models'?", "server, models"]),
        ("server = 3", ["server:", "got 3"]),
        ("[server]\nprot = 1", ["server.prot: unknown key", "Did you mean 'port'?"]),
        ('[server]\nport = "80"', ["server.port: '80' is not a whole number"]),
        ("[server]\nport = true", ["server.port: True is not a whole number"]),
        ("[server]\nport = 1.5", ["server.port: 1.5 is not a whole number"]),
        ("[server]\nwarm_start = 'x'", ["server.warm_start: 'x' is not a number"]),
        ("[server]\ndemo_mode = 1", ["server.demo_mode: 1 is not true or false"]),
        ("[server]\nhost = 1", ["server.host: 1 is not text"]),
        ("[server]\nlayouts_dir = [1]", ["server.layouts_dir: [1] is not a list of texts"]),
        ("[server]\nload = 'later'", ["server.load: 'later'", "background|first_use|before"]),
        ("[server]\nvalidate = 'some'", ["server.validate: 'some'"]),
        ("[server]\nmax_examples = 0", ["server.max_examples: 0"]),
        ("[server]\nmodels = ['x']", ["server.models: write a table [models]"]),
        ("[server]\ncheck = true", ["server.check: unknown key"]),
        ("[models]\na = 3", ["models.a"]),
        ("[models]\na = 'gpt2'", ["models.a", "names no framework"]),
        ("[models]\na = { dtype = 'float32' }", ["models.a", "source"]),
        ("[models]\na = { source = 3 }", ["models.a", "source"]),
        ("[models]\na = { source = 'hf:x', dtyp = 1 }", ["models.a", "dtyp", "'dtype'"]),
        ("[models]\na = { source = 'hf:x', dtype = 'int3' }", ["models.a", "dtype", "int3"]),
        ("[models]\n'a b' = 'hf:x'", ["models.a b", "letters"]),
        ("[datasets]\na = 3", ["datasets.a", "got 3"]),
        ("[datasets]\na = { pth = 'x' }", ["datasets.a.path: is missing"]),
        ("[datasets]\na = { path = 'x', max_example = 1 }", ["max_example", "'max_examples'"]),
        ("[datasets]\na = { path = 'x', max_examples = 0 }", ["datasets.a.max_examples", "got 0"]),
        ("[datasets]\n_a = 'x'", ["datasets._a", "letters"]),
    ],
)
def test_mistakes(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'lit.toml'}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        config.read(tmp_path / "lit.toml", {})
    with pytest.raises(ConfigError, match="directory"):
        config.read(tmp_path, {})
