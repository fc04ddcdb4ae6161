"""The notebook widget: what it accepts, what it serves, and the example notebooks themselves."""

from __future__ import annotations

import gc
import html
import importlib.machinery
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import types
import urllib.error
import urllib.request
import weakref
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import encoders
import nbclient
import nbformat
import pytest
import tiny
from IPython.core.inputtransformer2 import TransformerManager
from lit_nlp import dev_server
from lit_nlp import notebook as lit_notebook
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import types as lit_types
from lit_nlp.lib import caching

from lit_plugins import backends, datasets, layouts, resources
from lit_plugins.components import language_models
from lit_plugins.errors import ConfigError, DataError, InputError, LitPluginsError, SpecError
from lit_plugins.notebook import widget
from lit_plugins.server import build
from lit_plugins.sources import parse_model

ROOT = Path(__file__).resolve().parent.parent
THEIRS = dev_server.WSGI_SERVERS["notebook"]


@pytest.fixture(scope="module")
def model():
    return tiny.hf_model("llama", max_new_tokens=5)


@pytest.fixture
def make(monkeypatch):
    """`widget`, stopped after the test; `shown` gathers what it displays."""
    made = []

    def make(*args, **kwargs):
        made.append(widget(*args, **kwargs))
        return made[-1]

    make.shown = []
    monkeypatch.setattr(
        lit_notebook.display, "display", lambda shown: make.shown.append(shown.data)
    )
    yield make
    for each in made:
        each.stop()
    assert dev_server.WSGI_SERVERS["notebook"] is THEIRS


def ask(url, path="", body=None, timeout=60):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data)
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return response.read().decode()


def predict(w, name, dataset, **fields):
    fields["_id"] = caching.input_hash(fields)
    body = {"inputs": [{"id": fields["_id"], "data": fields}]}
    path = f"get_preds?model={name}&dataset_name={dataset}"
    return json.loads(ask(w.url, path, body))[0]


def address(shown):
    """Where the iframe of a piece of HTML goes to, on a page at http://localhost:8888."""
    base = json.loads(re.search(r'urlStr = ("[^"]*")', shown)[1])
    query = re.search(r" \+ '([^']*)'", shown)[1]
    port = re.search(r"const port = (\d+)", shown)[1]
    return f"http://localhost:{port}{base}{query}"


def test_what_it_serves(make, model):
    w = make({"tiny": model}, {"mine": ["the cat", "the dog"]})
    assert "lit_plugins/client/main.js" in ask(w.url)  # our server
    info = json.loads(ask(w.url, "get_info"))
    assert list(info["models"]) == ["tiny", "_tiny_salience", "_tiny_tokenizer"]
    assert "mine" in info["datasets"]
    assert info["defaultLayout"] == "prompt_left_right"
    assert info["syncState"]
    assert set(layouts.load([resources.folder("layouts")])) <= set(info["layouts"])

    response = predict(w, "tiny", "mine", prompt="the cat")["response"]
    assert response == model.generate(["the cat"])[0].response
    scores = predict(w, "_tiny_salience", "mine", prompt="the cat", target=response)
    assert len(scores["grad_l2"]) == len(scores["tokens"])
    assert max(scores["grad_l2"]) > 0
    assert w.models["tiny"] is model
    assert repr(w) == f"<LitWidget at {w.url}: models tiny; datasets mine>"


def test_render_shows_the_prompt(make, model):
    w = make({"tiny": model}, {"mine": ["the cat"]}, height=432)
    prompt = "the 'dog' & \"cat\"\nate 100% <b>soup</b> + more?"
    w.render(data=[{"prompt": prompt}, "two"])
    [shown] = make.shown
    assert "height='432'" in shown
    url = urlsplit(address(shown))
    assert parse_qs(url.query) == {
        "dataset": ["mine"],
        "data0_prompt": [prompt],
        "data1_prompt": ["two"],
    }
    assert "<lit-app>" in ask(address(shown))
    w.render(300)
    assert "height='300'" in make.shown[-1]
    assert urlsplit(address(make.shown[-1])).query == ""


def test_render_chooses_a_dataset_with_the_fields(make, model):
    w = make([("tiny", model)], {"plain": ["a"], "full": [{"prompt": "a", "target": " b"}]})
    w.render(data=["x"])
    assert "dataset=plain&" in make.shown[-1]
    w.render(data=[{"prompt": "x", "target": " y"}])
    assert "dataset=full&" in make.shown[-1]
    asked = lit_notebook.RenderConfig(dataset="full", layout="prompt_top_bottom")
    w.render(data=["x"], ui_params=asked)
    assert "layout=prompt_top_bottom" in make.shown[-1]
    assert "dataset=full&" in make.shown[-1]
    assert asked.datapoints is None
    with pytest.raises(InputError, match=r"fields prompt, sauce.*'plain': \['prompt'\]"):
        w.render(data=[{"prompt": "x", "sauce": "y"}])
    with pytest.raises(InputError, match="Unknown dataset 'nope'"):
        w.render(data=["x"], ui_params=lit_notebook.RenderConfig(dataset="nope"))


@pytest.mark.parametrize("entry", [7, {"target": "x"}, {"prompt": None}, "\ud800"])
def test_render_refuses_what_is_no_prompt(make, model, entry):
    with pytest.raises(InputError, match="prompt"):
        make({"tiny": model}, {"mine": ["a"]}).render(data=[entry])
    assert make.shown == []


def test_without_datasets_the_page_brings_its_own(make, model):
    w = make({"tiny": model}, [])
    w.render(data=["the cat"])
    assert urlsplit(address(make.shown[-1])).query == "data0_prompt=the+cat"
    assert list(json.loads(ask(w.url, "get_info"))["datasets"]) == ["_union_empty"]


def test_render_at_once_and_behind_a_proxy(make, model, monkeypatch):
    w = make({"tiny": model}, {"mine": ["a"]}, render=True, proxy_url="/proxy/%PORT%/")
    port = urlsplit(w.url).port
    assert f'urlStr = "/proxy/{port}/"' in make.shown[0]
    assert "const port = 0;" in make.shown[0]
    monkeypatch.setenv("LIT_PROXY_URL", "https://hub.example/user/me/proxy/%PORT%/")
    w = make({"tiny": model}, {"mine": ["a"]})
    w.render(open_in_new_tab=True)
    assert f"hub.example/user/me/proxy/{urlsplit(w.url).port}/" in make.shown[1]


def test_two_widgets_and_stopping(make, model):
    first = make({"tiny": model}, {"one": ["a"]})
    second = make({"other": model}, {"two": ["b"]})
    url = first.url
    assert first.url != second.url
    first.stop()
    first.stop()
    with pytest.raises(urllib.error.URLError):
        ask(url)
    assert "two" in json.loads(ask(second.url, "get_info"))["datasets"]
    with pytest.raises(LitPluginsError, match="stopped"):
        first.render()
    assert make.shown == []
    assert repr(first) == "<LitWidget stopped: models tiny; datasets one>"


def test_a_stopped_widget_keeps_no_model():
    model = tiny.hf_model("gpt2")
    w = widget({"tiny": model}, {"mine": ["a"]})
    ask(w.url)
    seen = weakref.ref(model.model)
    w.stop()
    del w, model
    deadline = time.monotonic() + 20  # the server's threads end one by one
    while seen() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.1)
    assert seen() is None


def test_what_the_page_selects_comes_back(make, model):
    w = make({"tiny": model}, {"mine": ["the cat"]})
    [entry] = json.loads(ask(w.url, "get_dataset?dataset_name=mine", {}))
    body = {"inputs": [entry["id"]], "config": {"primary_id": entry["id"]}}
    ask(w.url, "push_ui_state?dataset_name=mine", body)
    assert w.ui_state.primary["data"]["prompt"] == "the cat"
    assert w.ui_state.dataset_name == "mine"


def test_warm_start(make, model, capfd):
    make({"tiny": model}, {"mine": ["the cat"]}, warm_start=True)
    assert "1/1" in capfd.readouterr().err  # tqdm's bar, as text: there is no notebook here


# What it accepts


@pytest.fixture
def opened(monkeypatch, model):
    """The specs that are opened; all give the tiny model."""
    specs = []

    def open_model(spec):
        specs.append(spec)
        return model

    monkeypatch.setattr(language_models, "open_model", open_model)
    monkeypatch.setattr(backends, "keras_backend", lambda wanted=None: wanted or "torch")
    return specs


SPEC = "a=hf:packaged:smollm2-135m-instruct?max_new_tokens=7"


@pytest.mark.parametrize(
    "models",
    [[SPEC], SPEC, parse_model(SPEC), [parse_model(SPEC)], [("a", SPEC[2:])], {"a": SPEC[2:]}],
)
def test_ways_to_name_a_model(make, opened, models):
    w = make(models, {"mine": ["a"]})
    assert [spec.text for spec in opened] == [SPEC]
    assert list(w.models) == ["a"]


def test_defaults(make, opened):
    w = make()
    assert [spec.text for spec in opened] == [build.DEFAULT_MODELS[0]]
    assert set(datasets.samples()) < set(json.loads(ask(w.url, "get_info"))["datasets"])


def test_several_models(make, opened):
    make(f"{SPEC},b=keras:gemma3_instruct_270m", ["chat"], keras_backend="tensorflow")
    assert [spec.name for spec in opened] == ["a", "b"]


def test_a_transformers_model_in_memory(make):
    pair = (tiny.hf_module("gpt2"), tiny.byte_level_tokenizer())
    w = make({"mine": pair}, ["chat"])
    assert w.models["mine"].model is pair[0]
    assert predict(w, "_mine_tokenizer", "chat", prompt="the cat")["tokens"]


KERAS = """
import keras_hub.models as hub
import keras_probe
from lit_plugins.notebook import widget

model = hub.GPT2CausalLM(
    backbone=hub.GPT2Backbone(
        vocabulary_size=340,
        num_layers=2,
        num_heads=4,
        hidden_dim=24,
        intermediate_dim=40,
        max_sequence_length=96,
    ),
    preprocessor=hub.GPT2CausalLMPreprocessor(hub.GPT2Tokenizer(**keras_probe._byte_pair())),
)
w = widget({"mine": model}, {"data": ["the cat"]})
assert w.models["mine"].model is model
w.stop()
"""


def test_a_keras_model_in_memory():
    environment = {
        **os.environ,
        "KERAS_BACKEND": "torch",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/helpers'}",
    }
    done = subprocess.run(
        [sys.executable, "-c", KERAS], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_keras_already_runs_on_jax(make, monkeypatch):
    keras = types.ModuleType("keras")
    keras.__spec__ = importlib.machinery.ModuleSpec("keras", None)
    keras.backend = types.SimpleNamespace(backend=lambda: "jax")
    monkeypatch.setitem(sys.modules, "keras", keras)
    monkeypatch.setattr(language_models, "open_model", lambda spec: pytest.fail("too late"))
    with pytest.raises(SpecError, match=r"backend 'jax' is not supported.*torch, tensorflow"):
        make(["a=keras:gemma3_instruct_270m"], {"mine": ["a"]})


def test_ways_to_name_data(make, model, tmp_path):
    path = tmp_path / "some.txt"
    path.write_text("one\ntwo\n")
    given = lit_dataset.Dataset({"prompt": lit_types.TextSegment()}, [{"prompt": "x"}])
    w = make(
        {"tiny": model},
        {"path": path, "text": str(path), "sample": "chat", "lit": given, "list": ["a", "b", "c"]},
    )
    sizes = {
        name: info["size"] for name, info in json.loads(ask(w.url, "get_info"))["datasets"].items()
    }
    assert (sizes["path"], sizes["text"], sizes["lit"], sizes["list"]) == (2, 2, 1, 3)
    w = make(
        {"tiny": model}, ["chat", path, f"few={path}?max_examples=1", datasets.load(path, name="x")]
    )
    assert [*json.loads(ask(w.url, "get_info"))["datasets"]][:4] == ["chat", "some", "few", "x"]


def test_a_layout_of_the_callers(make, model, tmp_path):
    (tmp_path / "mine.toml").write_text('[upper]\nAll = ["DataTableModule"]\n')
    w = make({"tiny": model}, {"d": ["a"]}, "mine", layouts=layouts.load([tmp_path]))
    assert json.loads(ask(w.url, "get_info"))["defaultLayout"] == "mine"


# What it refuses


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"models": ["a=hf"]}, SpecError, "names no framework"),
        ({"models": ["a=hf:packaged:none"]}, LitPluginsError, "none"),
        ({"models": []}, SpecError, "needs a model"),
        ({"models": 5}, SpecError, "Got int"),
        ({"models": [object()]}, SpecError, "Got object"),
        ({"models": {"_a": "hf:gpt2"}}, SpecError, "Model name '_a'"),
        ({"models": [SPEC, SPEC]}, SpecError, "Two models are named 'a'"),
        ({"models": [("a", tiny.hf_module("gpt2"))]}, SpecError, r"\(model, tokenizer\)"),
        ({"datasets": ["menu"]}, SpecError, "Unknown sample set 'menu'.*menu_advice"),
        ({"datasets": ["nothing.jsonl"]}, DataError, "does not exist"),
        ({"datasets": [["a"]]}, SpecError, "need a name"),
        ({"datasets": {"a": 5}}, SpecError, "Dataset 'a' is int"),
        ({"datasets": {"a b": ["x"]}}, SpecError, "'a b'"),
        ({"datasets": {"a": [5]}}, InputError, "An example is text"),
        ({"datasets": {"a": []}}, DataError, "holds no prompts"),
        ({"datasets": {"a": [{"prompt": "x", "f": object()}]}}, DataError, "record 0: 'f'"),
        ({"layout": "left_right"}, ConfigError, "Unknown layout 'left_right'.*prompt_left_right"),
        ({"heigth": 3}, SpecError, "'heigth'. Did you mean 'height'"),
        ({"server_type": "default"}, SpecError, "'server_type'"),
        ({"keras_backend": "jax"}, SpecError, "jax"),
    ],
)
def test_mistakes(make, model, arguments, error, words, monkeypatch):
    monkeypatch.setattr(language_models, "open_model", lambda spec: model)
    with pytest.raises(error, match=words):
        make(**{"models": {"tiny": model}, "datasets": {"mine": ["a"]}, **arguments})


def test_a_port_in_use(make, model):
    first = make({"tiny": model}, {"mine": ["a"]})
    with pytest.raises(ConfigError, match="in use"):
        make({"tiny": model}, {"mine": ["a"]}, port=urlsplit(first.url).port)
    assert dev_server.WSGI_SERVERS["notebook"] is THEIRS


def test_a_model_that_cannot_be_loaded(make, tmp_path):
    with pytest.raises(LitPluginsError, match="does not exist"):
        make([f"a=hf:{tmp_path}/none"], {"mine": ["a"]})


# In a real kernel


def test_in_a_kernel_with_odd_arguments():
    """`sys.argv` is the kernel's, and nobody has parsed absl's flags."""
    program = """
import sys
sys.argv = ["ipykernel_launcher.py", "-f", "/x/kernel.json", "--port=no", "--lit.port=no"]
import tiny
from absl import flags
import lit_plugins.server.main
from lit_plugins.notebook import widget
assert not flags.FLAGS.is_parsed()
w = widget({"tiny": tiny.hf_model("llama")}, {"mine": ["a"]}, render=True)
w.stop()
loaded = {"keras", "tensorflow"} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/helpers'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


# The example notebooks

NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb"))}


def test_there_are_examples():
    assert len(NOTEBOOKS) >= 4


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_an_example_is_clean(name):
    cells = nbformat.read(NOTEBOOKS[name], as_version=4).cells
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
    magics = [
        cell for cell in cells if cell.cell_type == "code" and re.search("^ *%", cell.source, re.M)
    ]
    assert [cell.metadata.get("tags") for cell in magics] == [["colab"]]


def _colab_cells(name):
    """What is said about Colab, and the cell that installs: the first code of all."""
    cells = nbformat.read(NOTEBOOKS[name], as_version=4).cells
    place = next(number for number, cell in enumerate(cells) if cell.cell_type == "code")
    assert cells[place].metadata.tags == ["colab"]
    return cells[place - 1].source, cells[place].source


def test_all_examples_start_with_the_same_words_for_colab():
    words, code = _colab_cells("prompt_debugging")
    assert "Runtime > Restart session" in words
    assert "Runtime > Restart session" in code
    assert {_colab_cells(name) for name in NOTEBOOKS} == {(words, code)}


@pytest.mark.parametrize(
    ("on_colab", "installed", "asked"),
    [(True, False, 1), (True, True, 0), (False, False, 0), (False, True, 0)],
)
def test_only_colab_installs_and_only_once(on_colab, installed, asked, monkeypatch):
    """It installs, and stops what would run below it in the session that has NumPy 2."""
    code = TransformerManager().transform_cell(_colab_cells("sentiment")[1])
    if on_colab:
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "lit_plugins" and not installed else find_spec(name),
    )
    magics = []
    shell = types.SimpleNamespace(run_line_magic=lambda *given: magics.append(given))
    stops = pytest.raises(SystemExit, match="Restart session") if asked else nullcontext()
    with stops:
        exec(code, {"get_ipython": lambda: shell})
    assert len(magics) == asked
    assert all(name == "pip" and rest.startswith("install") for name, rest in magics)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a notebook's cells in a real kernel; `after(cell)` is called behind each."""
    folder = tmp_path / "kernels" / "this-python"
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "this Python", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests/helpers'}")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.delenv("LIT_PROXY_URL", raising=False)
    # The models are small: on a busy machine more threads would wait for each other.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(notebook, after=lambda cell: None):
        client = nbclient.NotebookClient(
            notebook,
            timeout=600,
            kernel_name="this-python",
            resources={"metadata": {"path": tmp_path}},
        )
        with client.setup_kernel():
            for number, cell in enumerate(notebook.cells):
                client.execute_cell(cell, number)
                after(cell)
        return notebook

    return run


class Pages:
    """The pages that a notebook's cells show, asked as each of them appears."""

    def __init__(self):
        self.urls, self.infos = [], []

    def __call__(self, cell):
        if shown := _html(cell, "<iframe"):
            url = address(shown)
            assert "<lit-app>" in ask(url)
            self.infos.append(json.loads(ask(url.partition("?")[0], "get_info")))
            self.urls.append(url)

    def are_gone(self):
        for url in self.urls:
            with pytest.raises(urllib.error.URLError):
                ask(url, timeout=5)
        return bool(self.urls)


@pytest.mark.packaged
def test_prompt_debugging_in_a_real_kernel(run, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")  # this model is not small
    pages = Pages()
    notebook = run(nbformat.read(NOTEBOOKS["prompt_debugging"], as_version=4), pages)
    assert [next(iter(info["models"])) for info in pages.infos] == ["gemma3", "gemma3"]
    first, both = (parse_qs(urlsplit(url).query) for url in pages.urls)
    assert "Dish: Leek and egg quiche" in first["data0_prompt"][0]
    assert both["data0_prompt"] == first["data0_prompt"]
    assert both["data1_prompt"][0] == both["data0_prompt"][0].replace(
        "You have to try it.", "Avoid it.", 1
    )
    assert _text(notebook, "answer") == "' You have to try it.'"
    assert _text(notebook, "new_answer") == "' Avoid it.'"
    [before, _] = [found for cell in notebook.cells if (found := _html(cell, "<table"))]
    assert _top_line(before) == "Recommendation: You have to try it."
    assert pages.are_gone()  # its last cell is w.stop()


@pytest.mark.packaged
def test_sentiment_in_a_real_kernel(run, tmp_path):
    pages = Pages()
    notebook = run(nbformat.read(NOTEBOOKS["sentiment"], as_version=4), pages)
    assert _html(_cell(notebook, "contrast="), "lifeless")
    by_source = {row[0]: float(row[1]) for row in _rows(notebook, "groupby")}
    assert by_source["irony"] == 0 < by_source["negation"] < 0.5
    assert by_source["plain"] > 0.9
    mistakes = {
        review: (word, float(nats)) for *_, word, nats, _, review in _rows(notebook, "most of")
    }
    for review, word in [
        ("Not a bad film at all.", "Not"),
        ("There is never a dull moment.", "never"),
    ]:
        assert mistakes[review] == (word, pytest.approx(-2, abs=1.5))
    for review, word in [
        ("Wonderful, if you have trouble falling asleep.", "Wonderful,"),
        ("A triumph of the trailer department.", "triumph"),
    ]:
        assert mistakes[review] == (word, pytest.approx(4, abs=1.5))
    [wonderful, *_] = _rows(notebook, "by_method = ")
    *three, alone = map(float, wonderful[1:])
    assert min(three) > 3
    assert alone < 0
    ironic, plain = _output(notebook, "irony.replace").splitlines()
    assert float(re.search(r"'POSITIVE': ([\d.]+)", ironic)[1]) > 0.9
    assert float(re.search(r"'POSITIVE': ([\d.]+)", plain)[1]) < 0.3
    assert "Wonderful" in (tmp_path / "irony.html").read_text("utf-8")
    [info] = pages.infos
    assert info["datasets"]["mistakes"]["size"] == 15
    assert pages.are_gone()


@pytest.mark.packaged
def test_tagging_and_answers_in_a_real_kernel(run):
    pages = Pages()
    notebook = run(nbformat.read(NOTEBOOKS["tagging_and_answers"], as_version=4), pages)
    rows = _rows(notebook, "own words")
    assert len(rows) == 6
    assert all(float(own) > float(around) > 0 for _, own, around in rows)
    assert "('TAX_ID', '0000123456')" in _output(notebook, "tagger.predict([transfer])")
    wrong = _output(notebook, "B-BANK_ACCOUNT")
    assert re.search(r"B-TAX_ID of 0000123456 by \w+: ' 0000123456,': [5-9]", wrong)
    labels = [row[1] for row in _rows(notebook, "around = [")]
    assert labels == ["TAX_ID", "TAX_ID", "PASSPORT"]
    assert re.search(r": ' passport': [5-9]", _output(notebook, "B-TAX_ID"))
    assert ": ' library': " in _output(notebook, 'contrast="nine"')
    assert "start of 1962, end of 1962" in _output(notebook, "each=True")
    answers = [row[2] for row in _rows(notebook, "questions = [")]
    assert answers == ["ten", "(no answer)", "(no answer)"]
    speaking = [row[1].strip() for row in _rows(notebook, "nlargest")]
    assert speaking == ["What", "time"]
    assert _output(notebook, "What does the museum") == "'ten'"
    assert len(pages.infos) == 1
    assert pages.are_gone()


@pytest.mark.packaged
def test_comparing_models_in_a_real_kernel(run):
    pages = Pages()
    notebook = run(nbformat.read(NOTEBOOKS["comparing_models"], as_version=4), pages)
    right = list(map(int, re.findall(r"^[\w-]+ +(\d+)$", _output(notebook, "right.sum()"), re.M)))
    assert len(right) == 2
    assert abs(right[0] - right[1]) <= 2
    by_source = {row[0]: tuple(map(float, row[1:])) for row in _rows(notebook, "groupby")}
    trained, asked = by_source["plain"]
    assert trained > 0.9 > 0.7 > asked
    half, method, other = (tuple(map(float, row[1:])) for row in _rows(notebook, "agreement.round"))
    assert min(half) > 0.98
    assert method[0] > 0.5 > 0.2 > abs(other[0])
    assert method[1] > 0.7 > 0.3 > other[1]
    [info] = pages.infos
    assert {"trained", "zero-shot"} <= set(info["models"])
    assert info["datasets"]["reviews"]["size"] == 40
    assert pages.are_gone()


KERNEL = (
    """
import encoders
import lit_plugins
from lit_plugins import explaining

explaining._SLOW = 0
explainer = lit_plugins.load(
    encoders.bert("SequenceClassification", ("GOOD", "BAD")), encoders.tokenizer(), name="mine"
)
""",
    """
whys = explainer(["ada lives in oslo", "two dogs", "a cat"], method="leave_one_out")
list(whys);
""",
    "whys[1]",
    "whys",
    "w = whys.show_in_lit(name='some')",
    "w.stop()",
)


def test_explanations_in_a_real_kernel(run):
    """Bars of the notebook's own, explanations in colours, the page with all inputs."""
    pages = Pages()
    cells = [nbformat.v4.new_code_cell(code) for code in KERNEL]
    run(nbformat.v4.new_notebook(cells=cells), pages)
    _, bar, one, several, _, _ = cells
    [shown] = [output.data for output in bar.outputs if "data" in output]
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert "Explaining" in shown["text/plain"]
    assert "two" in _html(one, "dogs")
    assert "<script" not in _html(one, "dogs")
    assert all(_html(several, word) for word in ("oslo", "dogs", "cat"))
    [info] = pages.infos
    assert info["datasets"]["some"]["size"] == 3
    assert "mine" in info["models"]
    assert pages.are_gone()


def _cell(notebook, part):
    """The first cell of code, behind the one for Colab, with `part` in it."""
    return next(
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and part in cell.source and not cell.metadata.get("tags")
    )


def _rows(notebook, part):
    """The rows of the table that that cell displays, without their titles: lists of text."""
    [table] = re.findall(r"<tbody>.*?</tbody>", _html(_cell(notebook, part), "<tbody>"), re.DOTALL)
    return [
        [html.unescape(text) for text in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    ]


def _output(notebook, part):
    """What that cell printed, or returned as text."""
    outputs = _cell(notebook, part).outputs
    texts = [output.text for output in outputs if output.output_type == "stream"]
    texts += [
        output.data["text/plain"] for output in outputs if output.output_type == "execute_result"
    ]
    return "".join(texts)


def _html(cell, part) -> str:
    """The HTML that a cell displays, if `part` is in it, else nothing."""
    for output in cell.get("outputs", []):
        found = output.get("data", {}).get("text/html", "")
        if part in found:
            return found
    return ""


def _text(notebook, ending):
    """The result of the cell whose last line is `ending`."""
    [cell] = [cell for cell in notebook.cells if cell.source.split("\n")[-1] == ending]
    [output] = [output for output in cell.outputs if output.output_type == "execute_result"]
    return output["data"]["text/plain"]


def _top_line(table):
    """The first line of the prompt with the highest percentage in a styled table."""
    rows = re.findall(r"col0[^>]*>(.*?)</td>\s*<td[^>]*col1[^>]*>([\d.]+)</td>", table)
    assert len(rows) > 15
    return html.unescape(max(rows, key=lambda row: float(row[1]))[0])


# Models of other tasks.


def test_models_of_other_tasks_in_memory(make):
    tagger = encoders.tagger()
    pair = (encoders.bert("SequenceClassification", ("GOOD", "BAD")), encoders.tokenizer())
    w = make(
        {"mine": pair, "tags": tagger},
        {"some": ["a cat", {"text": "two dogs", "label": "BAD"}], "plain": ["ada lives"]},
        layout="classification",
    )
    info = json.loads(ask(w.url, "get_info"))
    assert info["models"]["mine"]["datasets"][:2] == ["some", "plain"]
    assert info["models"]["mine"]["spec"]["output"]["probas"]["vocab"] == ["GOOD", "BAD"]
    assert "tags" in info["metrics"]
    assert "Gradient x input" in info["models"]["tags"]["interpreters"]
    assert sum(predict(w, "mine", "some", text="a cat")["probas"]) == pytest.approx(1)
    assert w.models["tags"] is tagger
    w.render(data=["oslo"])
    [shown] = make.shown
    assert parse_qs(urlsplit(address(shown)).query) == {"dataset": ["some"], "data0_text": ["oslo"]}


def test_a_spec_of_another_task(make, tmp_path):
    encoders.bert("QuestionAnswering").save_pretrained(tmp_path)
    encoders.tokenizer().save_pretrained(tmp_path)
    records = [{"question": "where?", "context": "ada lives in oslo"}]
    w = make({"qa": f"hf:{tmp_path}"}, {"questions": records})
    output = predict(w, "qa", "questions", **records[0])
    assert output["answer"] in records[0]["context"]
    # Plain text says nothing about where it belongs.
    with pytest.raises(InputError, match="No dataset has all the fields text"):
        w.render(data=["oslo"])
