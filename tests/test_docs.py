"""What the documents say is so: links, commands, flags, files, models and examples."""

from __future__ import annotations

import ast
import fnmatch
import functools
import inspect
import itertools
import json
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import click
import pytest

from lit_plugins import packaged, sources
from lit_plugins.attribution import exchange
from lit_plugins.attribution.cost import Size
from lit_plugins.attribution.methods import METHODS, Method
from lit_plugins.attribution.options import Options, resolve
from lit_plugins.cli import main as cli

ROOT = Path(__file__).resolve().parent.parent
PATTERNS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md", "*/README.md")
DOCUMENTS = sorted(
    {
        path.relative_to(ROOT).as_posix()
        for pattern in PATTERNS
        for path in ROOT.glob(pattern)
        if not path.relative_to(ROOT).parts[0].startswith(".")
    }
)
# CONTRIBUTING speaks of other tools' flags too.
ABOUT_LAUNCH = [name for name in DOCUMENTS if name not in ("CONTRIBUTING.md", "CHANGELOG.md")]

_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_HTML_LINK = re.compile(r"<(?:a|img)\s[^>]*(?:href|src)=\"([^\"]+)\"")
_CODE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
_FLAG = re.compile(r"(?<![\w-])--(?:no)?(\w+)(?![\w-])")
# Programs whose flags are their own.
_OTHERS = re.compile(r"^\s*(?:pip|git|apt-get|docker|uv|\S*python -m (?!lit_plugins)\S+)\s")
_TOP = ("lit_plugins", "tests", "datasets", "layouts", "benchmarks", "docs", ".ci")


class Block(NamedTuple):
    language: str
    text: str


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(text: str) -> list[Block]:
    """Fenced blocks, without their indentation."""
    return [Block(match[2], textwrap.dedent(match[3])) for match in _FENCE.finditer(text)]


def prose(text: str) -> str:
    return _FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """As GitHub makes them: lower case, punctuation dropped, spaces as hyphens."""
    found: set[str] = set()
    for heading in _HEADING.findall(prose(text)):
        heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")
        number = next(n for n in range(1000) if (f"{slug}-{n}" if n else slug) not in found)
        found.add(f"{slug}-{number}" if number else slug)
    # `::: NAME` is where the site has the docstring of NAME.
    found |= set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    return found | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))


def broken_links(path: Path, root: Path) -> list[str]:
    text = path.read_text("utf-8")
    body = _CODE.sub("", prose(text))
    links = [first or second for first, second in _LINK.findall(body)] + _HTML_LINK.findall(body)
    broken = []
    for link in links:
        if re.match(r"[a-z][a-z0-9+.-]*:|//", link):
            continue  # elsewhere
        place, _, anchor = unquote(link).partition("#")
        target = (path.parent / place).resolve() if place else path
        found = target.is_relative_to(root) and target.exists()
        if found and anchor and target.suffix == ".md":
            found = anchor in anchors(target.read_text("utf-8"))
        if not found:
            broken.append(link)
    return broken


def make_targets(text: str) -> list[str]:
    """What `make` is asked for in the shell commands of a document."""
    lines = [
        line
        for block in blocks(text)
        if block.language in ("sh", "bash", "console")
        for line in block.text.splitlines()
    ]
    lines += _CODE.findall(prose(text))
    found = []
    for line in lines:
        match = re.match(r"\s*\$?\s*make((?:\s+[a-z][\w-]*(?!\S*=))+)", line)
        found += match[1].split() if match else []
    return found


def _joined(text: str) -> str:
    """Commands that go on in the next line, as one."""
    return re.sub(r"\\\n\s*", "", text)


def flags(text: str) -> set[str]:
    """Flags of launch.py that a document names."""
    lines = [line for block in blocks(text) for line in _joined(block.text).splitlines()]
    lines += _CODE.findall(prose(text))
    return {flag for line in lines if not _OTHERS.match(line) for flag in _FLAG.findall(line)}


@pytest.fixture(scope="module")
def known_flags() -> set[str]:
    done = subprocess.run(
        [sys.executable, "launch.py", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^  --(?:\[no\])?(\w+)", done.stdout, re.MULTILINE)) | {"help"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    assert broken_links(ROOT / name, ROOT) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_exist(name):
    targets = set(re.findall(r"^([a-z][\w-]*):", read("Makefile"), re.MULTILINE))
    assert set(make_targets(read(name))) <= targets


@pytest.mark.parametrize("name", ABOUT_LAUNCH)
def test_flags_exist(name, known_flags):
    # `helpfull` is listed in help's last line, `noX` is matched as X.
    known = known_flags | {"helpfull"}
    if re.search(r"^lit-plugins \w", read(name), re.MULTILINE):
        context = click.Context(cli.commands)
        for command in map(functools.partial(cli.commands.get_command, context), cli.COMMANDS):
            known |= {text.lstrip("-") for one in command.params for text in one.opts}
    if name.startswith("benchmarks/"):
        scripts = "".join(path.read_text("utf-8") for path in (ROOT / "benchmarks").glob("*.py"))
        known |= set(re.findall(r'add_argument\(\s*"--(\w+)"', scripts))
    assert flags(read(name)) - known == set()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_of_ours_exist(name):
    named = [
        code
        for code in _CODE.findall(prose(read(name)))
        if code.split("/")[0] in _TOP and "/" in code and re.fullmatch(r"[\w./*-]+", code)
    ]
    missing = [
        code
        for code in named
        # NAME and * stand for whatever a reader puts there.
        if not list(ROOT.glob(re.sub(r"\b[A-Z]{3,}\b", "*", code).rstrip("/")))
    ]
    assert missing == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_packaged_models_exist(name):
    named = set(re.findall(r"\bpackaged:([a-z0-9][\w.-]*\w)", read(name)))
    assert named <= set(packaged.PACKAGED)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_model_specs_parse(name):
    for line in _joined(read(name)).splitlines():
        if _OTHERS.match(line):
            continue
        for quoted, bare in re.findall(r"--models[= ](?:'([^']+)'|([^\s'\"`]+))", line):
            for spec in sources.split_models(quoted or bare):
                if "NAME" not in spec and "…" not in spec:
                    sources.parse_model(spec)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_examples_are_well_formed(name):
    for block in blocks(read(name)):
        if block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "jsonl":
            list(map(json.loads, block.text.splitlines()))
        elif block.language == "python":
            compile(block.text, name, "exec")


@pytest.mark.parametrize(("folder", "pattern"), [("datasets", "*.jsonl"), ("layouts", "*.toml")])
def test_readme_of_a_folder_names_every_file(folder, pattern):
    rows = [line for line in read(f"{folder}/README.md").splitlines() if line.startswith("| `")]
    stems = {Path(row.split("`")[1]).stem for row in rows}
    assert stems == {path.stem for path in (ROOT / folder).glob(pattern)}


# What a method answers is its description, but for the source, which is a year's parenthesis.
_SOURCE = re.compile(r" \(([^()]*\b(?:19|20)\d\d\b[^()]*)\)")
_TOKENS, _WORDS, _SENTENCES = 200, 150, 12  # of the prompt whose passes the table counts


def methods_table() -> str:
    """METHODS as the documents show them."""
    lines = ["| Method | What it answers | Signed | Passes | Source |", "| --- " * 5 + "|"]
    for method in METHODS.values():
        found = _SOURCE.search(method.description)
        assert found, f"{method.name}: no source in its description"
        answers = _SOURCE.sub("", method.description, count=1)
        source = re.sub(r"arXiv (\d+\.\d+)", r"[arXiv \1](https://arxiv.org/abs/\1)", found[1])
        signed = "yes" if method.signed else "no"
        lines.append(f"| `{method.name}` | {answers} | {signed} | {_passes(method)} | {source} |")
    return "\n".join(lines) + "\n"


def _passes(method: Method) -> str:
    options = resolve(method.name, method.defaults, {})
    segments = {None: _TOKENS, "token": _TOKENS, "word": _WORDS, "sentence": _SENTENCES}[
        options.segment
    ]
    passes = method.cost(Size(outputs=1, segments=segments), options)
    most = "at most " if options.steps == "auto" else ""
    return f"{most}{passes.forward:g} + {passes.backward:g}"


def _json_type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(map(_json_type, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"{_json_type(schema['items'])}[]"
    return str(schema.get("const", schema.get("type", "object")))


def fields_table() -> str:
    """The fields of an explanation's JSON, as the class that reads it has them."""
    [record] = [
        part
        for part in ast.parse(inspect.getsource(exchange)).body
        if isinstance(part, ast.ClassDef) and part.name == "Record"
    ]
    texts = {
        field.target.id: ast.literal_eval(text.value)
        for field, text in itertools.pairwise(record.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
    }
    schema = exchange.Record.model_json_schema()
    lines = ["| Field | Type | Required | What it is |", "| --- " * 4 + "|"]
    for name, field in schema["properties"].items():
        required = name in schema["required"] or name == "lit_plugins_explanation"
        means = texts[name].replace("|", r"\|")
        lines.append(
            f"| `{name}` | `{_json_type(field)}` | {'yes' if required else 'no'} | {means} |"
        )
    return "\n".join(lines) + "\n"


def home() -> str:
    """The site's first page: README, as seen from docs/."""
    text = read("README.md")
    text = text.replace(" [Contributing](CONTRIBUTING.md) · [Changes](CHANGELOG.md)", "")
    text = re.sub(r"\]\((?![a-z]+:)(?!docs/)[^)]*\)", "]()", text)
    text = re.sub(r"(?<!!)\[([^\]]*)\]\(\)", r"\1", text)
    return text.replace("](docs/", "](").replace("# lit-plugins\n", f"{_HOME}# lit-plugins\n", 1)


_HOME = "<!-- Written by `python tests/test_docs.py` from README.md. -->\n\n"
# By its name in the comment in front: the table, and the page where it is.
WRITTEN = {
    "methods": ("docs/methods.md", methods_table),
    "fields": ("docs/explanation-json.md", fields_table),
}


def _written(name: str) -> re.Pattern[str]:
    start = re.escape(f"<!-- {name}: written by `python tests/test_docs.py` -->\n")
    return re.compile(f"(?<={start}).*?(?=<!--)", re.S)


@pytest.mark.parametrize("name", WRITTEN)
def test_table(name):
    """`python tests/test_docs.py` writes it."""
    page, table = WRITTEN[name]
    found = _written(name).search(read(page))
    assert found
    assert found[0] == table()


def test_home():
    """`python tests/test_docs.py` writes it."""
    assert read("docs/index.md") == home()


def test_example_of_json_is_one():
    [example] = [
        block for block in blocks(read("docs/explanation-json.md")) if block.language == "json"
    ]
    found = json.loads(example.text)
    written = exchange.record(exchange.from_record(found))
    assert list(written.items()) == list(found.items())  # all that is written, in its order


@pytest.mark.parametrize(
    ("name", "options"),
    [("docs/explanations.md", Options), ("docs/models.md", sources.ModelOptions)],
)
def test_every_option_is_explained(name, options):
    text = read(name)
    named = {word for code in _CODE.findall(prose(text)) for word in re.findall(r"\w+", code)}
    named |= set(re.findall(r"\b(\w+)=", text))
    assert set(options.model_fields) - named == set()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_nothing_is_left_to_be_written(name):
    assert not re.findall(r"^.*\b(?:TODO|FIXME|TBD)\b.*$", read(name), re.MULTILINE)


def test_changelog_has_this_version():
    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    assert re.search(rf"^## \[{re.escape(version)}\]", read("CHANGELOG.md"), re.MULTILINE)


# The tests above find nothing in good documents; this is what they find in a bad one.
_BAD = """# A title: with `code`

[good](other.md) [gone](gone.md) [here](#a-title-with-code) [nowhere](#b) [up](other.md#twice-1)
[outside](../elsewhere.md) [up](other.md#twice-2) [web](https://example.org/x) `[code](no.md)`

```sh
make serve ARGS="--port=1 --nocheck"
make missing
pip install --quiet x
python -m lit_plugins --models=x
```

Run `make test` or `launch.py --made_up`; the pip flag `--no-deps` is none of ours. Make a wish.
"""


def test_bad_documents_are_found_out(tmp_path):
    root = tmp_path / "repo"
    root.mkdir()
    (tmp_path / "elsewhere.md").touch()
    (root / "other.md").write_text("# Twice\n\n# Twice\n", "utf-8")
    (root / "bad.md").write_text(_BAD, "utf-8")
    assert broken_links(root / "bad.md", root) == [
        "gone.md",
        "#b",
        "../elsewhere.md",
        "other.md#twice-2",
    ]
    assert make_targets(_BAD) == ["serve", "missing", "test"]
    assert flags(_BAD) == {"port", "check", "models", "made_up"}


def test_every_document_is_looked_at():
    assert {"README.md", "CONTRIBUTING.md", "datasets/README.md"} <= set(DOCUMENTS)
    assert not fnmatch.filter(DOCUMENTS, ".venv/*")


if __name__ == "__main__":
    for kind, (name, table) in WRITTEN.items():
        made = _written(kind).sub(lambda _, table=table: table(), read(name))
        (ROOT / name).write_text(made, "utf-8")
    (ROOT / "docs" / "index.md").write_text(home(), "utf-8")
