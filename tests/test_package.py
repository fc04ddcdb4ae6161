"""What is shipped: the wheel, its installation into an empty environment, and the repository."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lit_plugins

ROOT = Path(__file__).resolve().parent.parent
FRAMEWORKS = ("torch", "tensorflow", "keras", "transformers", "jax")
EXTRAS = {"hf", "keras", "report", "notebook", "demo", "test", "docs", "dev"}


def run(*command, cwd, timeout=120, **environment):
    """Run a program without this process's PYTHONPATH; a server that starts is an error."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=kept | {key: str(value) for key, value in environment.items()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def succeed(*command, **options):
    done = run(*command, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ------------------------------------------------------------------- the wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """Built from the source archive, as on an installer's machine, so that this is tested too."""
    folder = tmp_path_factory.mktemp("dist")
    succeed(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (archive,) = folder.glob("*.whl")
    return archive


@pytest.fixture(scope="session")
def members(wheel) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def metadata(members):
    (name,) = (name for name in members if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(members[name])


def files_below(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_holds_the_package_and_nothing_else(members):
    assert {name.split("/")[0].split("-")[0] for name in members} == {"lit_plugins"}
    content = {
        name.removeprefix("lit_plugins/") for name in members if name.startswith("lit_plugins/")
    }
    code = {name for name in content if not name.startswith("data/")}
    assert code == files_below(ROOT / "lit_plugins")
    assert "py.typed" in code
    assert any(name.startswith("client/") for name in code)
    for folder in ("datasets", "layouts"):
        prefix = f"data/{folder}/"
        packed = {name.removeprefix(prefix) for name in content if name.startswith(prefix)}
        assert packed == files_below(ROOT / folder)


def test_wheel_has_the_content_unchanged(members):
    for folder, pattern in (("datasets", "*.jsonl"), ("layouts", "*.toml")):
        paths = list((ROOT / folder).glob(pattern))
        assert paths
        for path in paths:
            assert members[f"lit_plugins/data/{folder}/{path.name}"] == path.read_bytes()


def test_metadata(metadata, members):
    assert metadata["Name"] == "lit-plugins"
    assert metadata["Version"] == lit_plugins.__version__
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.13"}
    assert set(metadata.get_all("Provides-Extra")) == EXTRAS
    assert metadata["License-Expression"] == "Apache-2.0"
    (licence,) = (name for name in members if name.endswith("/licenses/LICENSE"))
    assert b"Apache License" in members[licence]
    assert metadata.get_payload().startswith("# ")  # the README


def needed(metadata, extra: str) -> set[str]:
    requirements = map(Requirement, metadata.get_all("Requires-Dist"))
    return {
        canonicalize_name(requirement.name)
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra})
    }


def test_extras_bring_what_they_say(metadata):
    frameworks = {"torch", "tensorflow", "keras", "keras-hub", "keras-nlp", "transformers", "jax"}
    assert not needed(metadata, "") & frameworks
    assert "lit-nlp" in needed(metadata, "")
    assert needed(metadata, "hf") & frameworks == {"torch", "transformers"}
    keras = {"torch", "transformers", "tensorflow", "keras", "keras-hub", "keras-nlp"}
    assert needed(metadata, "keras") & frameworks == keras
    assert needed(metadata, "keras") <= needed(metadata, "demo") <= needed(metadata, "test")
    assert needed(metadata, "test") | needed(metadata, "docs") < needed(metadata, "dev")
    assert "zensical" in needed(metadata, "docs")


def test_constraints_pin_every_requirement_to_a_version_it_allows(metadata):
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+!-]+", line)] == []
    pinned = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    wanted = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]
    wanted += [Requirement(text) for text in build["requires"]]
    wrong = [
        str(requirement)
        for requirement in wanted
        if (version := pinned.get(canonicalize_name(requirement.name))) is None
        or version not in requirement.specifier
    ]
    assert wrong == []


# ------------------------------------------------------------------- installed


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory) -> Path:
    """The Python of an empty environment with the wheel and no extra (a minute, 1 GB)."""
    folder = tmp_path_factory.mktemp("installed")
    home = folder / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    succeed(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile"),
        *("--disable-pip-version-check", "--constraint", ROOT / "constraints.txt", wheel),
        cwd=folder,
        timeout=800,
    )
    yield python
    shutil.rmtree(home)


_USE_IT = """
import json, sys
import lit_plugins
from lit_plugins import datasets, layouts, resources
print(json.dumps({
    "package": lit_plugins.__file__,
    "version": lit_plugins.__version__,
    "samples": {name: len(datasets.load(path)) for name, path in datasets.samples().items()},
    "layouts": list(layouts.load([resources.folder("layouts")])),
    "frameworks": [name for name in %r if name in sys.modules],
}))
"""


@pytest.mark.packaged
def test_installed_package_works_from_another_folder(installed, tmp_path):
    seen = json.loads(succeed(installed, "-c", _USE_IT % (FRAMEWORKS,), cwd=tmp_path))
    assert Path(seen["package"]).is_relative_to(installed.parent.parent)
    assert seen["version"] == lit_plugins.__version__
    assert set(seen["samples"]) == {path.stem for path in (ROOT / "datasets").glob("*.jsonl")}
    assert all(seen["samples"].values())
    assert set(seen["layouts"]) == {path.stem for path in (ROOT / "layouts").glob("*.toml")}
    assert seen["frameworks"] == []


@pytest.mark.packaged
def test_installed_package_has_no_framework(installed, tmp_path):
    script = f"import importlib.util as u; print([n for n in {FRAMEWORKS} if u.find_spec(n)])"
    assert succeed(installed, "-c", script, cwd=tmp_path).strip() == "[]"


@pytest.mark.packaged
def test_installed_help(installed, tmp_path):
    done = run(installed.parent / "lit-plugins", "serve", "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--models" in done.stdout
    for command in ([installed.parent / "lit-plugins"], [installed, "-m", "lit_plugins"]):
        done = run(*command, "--help", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "explain" in done.stdout


@pytest.mark.packaged
@pytest.mark.parametrize(
    ("extra", "model"), [("hf", "smollm2-135m-instruct"), ("keras", "gemma3-270m")]
)
def test_model_without_its_extra_is_one_line(installed, tmp_path, extra, model):
    cache = tmp_path / "cache"
    done = run(
        *(installed, "-m", "lit_plugins", "serve", "--port=0"),
        f"--models=a={extra}:packaged:{model}",
        cwd=tmp_path,
        timeout=60,
        LIT_PLUGINS_CACHE=cache,
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert f"pip install 'lit-plugins[{extra}]'" in line
    assert not cache.exists()  # said before anything was fetched


@pytest.mark.packaged
@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["explain", "hf:packaged:tiny-nli", "topics", "-o", "out.jsonl"], "hf"),
        (["predict", "keras:packaged:gemma3-270m", "chat"], "keras"),
        (["fetch", "sentiment"], "hf"),
    ],
)
def test_command_without_its_extra_is_one_line(installed, tmp_path, command, extra):
    cache = tmp_path / "cache"
    done = run(installed.parent / "lit-plugins", *command, cwd=tmp_path, LIT_PLUGINS_CACHE=cache)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert f"pip install 'lit-plugins[{extra}]'" in line
    assert list(tmp_path.iterdir()) == []


_WITHOUT_FRAMEWORKS = """
import sys
import lit_plugins
from lit_plugins.attribution.exchange import from_record
sys.modules.update(dict.fromkeys(("matplotlib", "pyarrow")))  # lit-nlp may have brought them
one = from_record({
    "lit_plugins_explanation": 1, "method": "grad_l2", "options": {}, "targets": [0],
    "names": ["A"], "value": 0.5, "units": "nats", "signed": False, "tokens": ["a"],
    "scores": [1.0],
    "segments": [{"start": 0, "stop": 1, "text": "a"}],
})
assert "Why A" in one.to_html()
assert len(one.to_dataframe()) == 1
for work in (
    lambda: lit_plugins.load("hf:packaged:sentiment"),
    lambda: lit_plugins.load("keras:packaged:gemma3-270m"),
    one.to_png,
):
    try:
        work()
    except lit_plugins.LitPluginsError as error:
        print(error)
"""


@pytest.mark.packaged
def test_what_is_missing_is_said_with_what_to_install(installed, tmp_path):
    cache = tmp_path / "cache"
    printed = succeed(
        *(installed, "-c", _WITHOUT_FRAMEWORKS), cwd=tmp_path, LIT_PLUGINS_CACHE=cache
    ).splitlines()
    wanted = ("hf", "keras", "report")
    assert len(printed) == len(wanted)
    for line, extra in zip(printed, wanted, strict=True):
        assert f"pip install 'lit-plugins[{extra}]'" in line
    assert not cache.exists()


@pytest.mark.packaged
@pytest.mark.parametrize("command", ["explain", "predict"])
def test_a_command_without_its_extra_is_one_line(installed, tmp_path, command):
    program = installed.parent / "lit-plugins"
    done = run(program, command, "hf:packaged:sentiment", "movie_reviews", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "pip install 'lit-plugins[hf]'" in done.stderr.splitlines()[-1]
    assert succeed(program, "methods", cwd=tmp_path).count("integrated_gradients")
    assert succeed(program, "models", cwd=tmp_path).count("sentiment")


# ------------------------------------------------------------------- the checkout

_LIGHT = "errors resources sources packaged datasets layouts gguf server.config server.main"


@pytest.mark.parametrize("module", ["", *_LIGHT.split()])
def test_import_is_quick_and_brings_no_framework(module):
    name = f"lit_plugins.{module}".rstrip(".")
    limit = 5 if module else 0.5  # seconds, on a busy machine: lit-nlp's types bring pandas
    script = (
        f"import sys, time; start = time.perf_counter(); import {name}; "
        f"print(time.perf_counter() - start, *(n for n in {FRAMEWORKS} if n in sys.modules))"
    )
    seconds, *frameworks = succeed(sys.executable, "-c", script, cwd=ROOT).split()
    assert frameworks == []
    assert float(seconds) < limit


_RUN_A_MODEL = """
import importlib.util, json, sys
import torch, transformers
from transformers import Trainer, pipeline
config = transformers.GPT2Config(
    vocab_size=17, n_embd=8, n_layer=1, n_head=2, n_positions=16, bos_token_id=1, eos_token_id=1
)
transformers.GPT2LMHeadModel(config).save_pretrained(sys.argv[1])
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1])
made = model.generate(
    torch.tensor([[3, 4, 5]]), attention_mask=torch.ones(1, 3), min_new_tokens=2, max_new_tokens=2
)
import datasets
print(json.dumps([sys.path[0], len(made[0]), datasets.__file__]))
"""


@pytest.mark.parametrize("other", [False, True], ids=["no datasets package", "datasets installed"])
def test_our_folder_datasets_harms_no_transformers(other, tmp_path):
    """The root is first on the path, as for `python launch.py`: a folder without `__init__.py`
    is at most an empty namespace package there, which any real package goes before."""
    site = tmp_path / "site"
    package = site / "datasets" / "__init__.py"
    package.parent.mkdir(parents=True)
    if other:
        package.write_text("__version__ = '4.0.0'\nclass Dataset: pass\n", "utf-8")
    elif not _is_ours():
        pytest.skip("Hugging Face's datasets is installed here")
    done = succeed(
        *(sys.executable, "-c", _RUN_A_MODEL, tmp_path / "model"), cwd=ROOT, PYTHONPATH=site
    )
    first, length, found = json.loads(done.splitlines()[-1])
    assert Path(first or ROOT) == ROOT
    assert length == 5
    assert found == (str(package) if other else None)


def _is_ours() -> bool:
    script = "import datasets; print(*datasets.__path__)"
    return str(ROOT / "datasets") in succeed(sys.executable, "-c", script, cwd=ROOT)


@pytest.mark.parametrize("folder", ["datasets", "layouts"])
def test_content_folders_are_no_packages(folder):
    assert [path for path in (ROOT / folder).rglob("*") if path.suffix.startswith(".py")] == []


@pytest.fixture(scope="session")
def texts() -> dict[str, str]:
    """Every text file that is, or is about to be, in the repository."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so nobody knows which files belong to it")
    listed = succeed(
        *("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), cwd=ROOT
    )
    found = {}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        data = path.read_bytes() if path.is_file() else b"\0"  # deleted, not yet committed
        if b"\0" not in data:
            found[name] = data.decode("utf-8", errors="replace")
    assert "pyproject.toml" in found
    return found


# Written so that they do not match themselves.
_MACHINE_PATH = re.compile(r"(?<![\w.*/-])/(?:work|root|home/\w+|Users/\w+)/")
_REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(?:com|org)|anaconda\.org|download\.pytorch\.org",
    re.IGNORECASE,
)


@pytest.mark.parametrize("pattern", [_MACHINE_PATH, _REGISTRY], ids=["machine path", "registry"])
def test_no_file_names_a_machine_or_a_registry(texts, pattern):
    """What we commit works on any machine and with any mirror."""
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for name, text in texts.items()
        for match in pattern.finditer(text)
    ]
    assert found == []


def test_those_patterns_find_something():
    separator = "/"
    for place in ("work", "root", "home/me", "Users/me"):
        assert _MACHINE_PATH.search(f'"{separator}{place}{separator}main"')
    assert not _MACHINE_PATH.search("docs/work/x")
    for host in ("https://pypi{}org/simple", "files.pythonhosted{}org", "registry.npmjs{}org"):
        assert _REGISTRY.search(host.format("."))
