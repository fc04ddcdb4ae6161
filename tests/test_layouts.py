"""Layouts: the packaged ones, the format, and what is refused."""

import json
from pathlib import Path

import pytest
from lit_nlp.api import layout as lit_layout
from lit_nlp.lib import serialize

from lit_plugins import layouts, resources
from lit_plugins.errors import ConfigError

PROMPTS = ("prompt_left_right", "prompt_three_panel", "prompt_top_bottom")
# What each of the others is for.
OTHERS = {
    "classification": {"classification-module", "confusion-matrix-module", "multilabel-module"},
    "pairs_and_answers": {"annotated-text-module", "classification-module"},
    "tagging": {"annotated-text-module"},
}
PACKAGED = tuple(sorted((*PROMPTS, *OTHERS)))
MINIMAL = '[upper]\nSalience = ["SequenceSalienceModule"]\n'


def write(folder: Path, text: str, name: str = "mine") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text, "utf-8")
    return path


def error_of(tmp_path: Path, text: str) -> str:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        layouts.load([tmp_path])
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def modules_of(layout: lit_layout.LitCanonicalLayout) -> set[str]:
    found = set()
    for group in (layout.left, layout.upper, layout.lower):
        for modules in group.values():
            found |= {m if isinstance(m, str) else str(m.module) for m in modules}
    return found


def test_packaged_layouts_show_what_prompt_debugging_needs():
    found = layouts.load([resources.folder("layouts")])
    assert tuple(found) == PACKAGED
    for name, layout in found.items():
        assert layout.description
        names = modules_of(layout)
        assert "salience-map-module" in names
        if name in PROMPTS:
            assert "signed-sequence-salience-module" in names  # shows the generated text, too
        assert OTHERS.get(name, set()) <= names
        assert any("datapoint-editor" in name for name in names)
        assert any("data-table" in name for name in names)
    assert "embeddings-module" in modules_of(found["prompt_three_panel"])


def test_readme_names_every_layout():
    text = (resources.folder("layouts") / "README.md").read_text("utf-8")
    assert all(f"`{name}`" in text for name in PACKAGED)


def test_class_names_and_element_names_mean_the_same(tmp_path):
    write(tmp_path, '[upper]\nA = ["DataTableModule"]\n', "by_class")
    write(tmp_path, '[upper]\nA = ["data-table-module"]\n', "by_element")
    found = layouts.load([tmp_path])
    assert found["by_class"] == found["by_element"]
    assert found["by_class"].upper == {"A": ["data-table-module"]}


def test_everything_reaches_lits_json_as_plain_values(tmp_path):
    write(
        tmp_path,
        """
description = "d"
[left]
"Two words" = ["DataTableModule"]
[upper]
A = [{ module = "MetricsModule", required_for_tab = true }, { module = "ScalarModule" }]
[lower]
B = ["CurvesModule"]
[settings]
hideToolbar = true
mainHeight = 61
leftWidth = 37
centerPage = true
""",
    )
    sent = json.loads(serialize.to_json(layouts.load([tmp_path]), simple=True))
    assert sent == {
        "mine": {
            "description": "d",
            "left": {"Two words": ["data-table-module"]},
            "upper": {"A": [{"module": "metrics-module", "requiredForTab": True}, "scalar-module"]},
            "lower": {"B": ["curves-module"]},
            "layoutSettings": {
                "hideToolbar": True,
                "mainHeight": 61,
                "leftWidth": 37,
                "centerPage": True,
            },
        }
    }


def test_settings_default_to_lits_own(tmp_path):
    write(tmp_path, MINIMAL)
    assert layouts.load([tmp_path])["mine"].layoutSettings == lit_layout.LayoutSettings()


@pytest.mark.parametrize("name", layouts.OUR_MODULES)
def test_modules_of_our_own_client(tmp_path, name):
    element = layouts.OUR_MODULES[name].element
    assert lit_layout.LitModuleName.__members__.get(name) is None
    write(tmp_path, f'[upper]\nA = ["{name}"]\nB = ["{element}"]\n')
    assert layouts.load([tmp_path])["mine"].upper == {"A": [element], "B": [element]}
    message = error_of(tmp_path, f'[upper]\nA = ["{name}"]\nB = ["{name[:-1]}"]\n')
    assert f"Did you mean '{name}'?" in message
    assert element in message


def test_without_our_client_lits_modules_stand_in(tmp_path):
    write(
        tmp_path,
        """
[left]
Compare = ["SalienceCompareModule"]
Both = ["SalienceHeatMapModule", "DataTableModule"]
[upper]
Map = ["SalienceHeatMapModule"]
[lower]
Salience = [
  { module = "SignedSequenceSalienceModule", required_for_tab = true }, "MetricsModule"
]
Again = ["SignedSequenceSalienceModule", "SequenceSalienceModule"]
[settings]
leftWidth = 37
""",
    )
    found = layouts.load([tmp_path])
    stock = layouts.without_ours(found)["mine"]
    ours = {module.element for module in layouts.OUR_MODULES.values()}
    assert ours <= modules_of(found["mine"])
    assert not ours & modules_of(stock)
    assert stock.left == {"Both": ["data-table-module"]}
    # What is above must not be empty.
    assert stock.upper == {
        "Salience": [lit_layout.ModuleConfig("sequence-salience-module", True), "metrics-module"],
        "Again": ["sequence-salience-module"],
    }
    assert stock.lower == {}
    assert stock.layoutSettings.leftWidth == 37


def test_lits_own_layouts_stay_as_they_are():
    theirs = lit_layout.DEFAULT_LAYOUTS
    stock = layouts.without_ours(theirs)
    assert serialize.to_json(stock, simple=True) == serialize.to_json(theirs, simple=True)


def test_unknown_module_is_named_and_the_valid_ones_listed(tmp_path):
    message = error_of(tmp_path, '[upper]\nA = ["DataTableModule", "SequenceSalienceModul"]\n')
    assert "upper.A[1]: unknown module 'SequenceSalienceModul'" in message
    assert "Did you mean 'SequenceSalienceModule'?" in message
    assert all(str(module.value) in message for module in lit_layout.LitModuleName)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MINIMAL + "[uper]\n", "uper: unknown key. Did you mean 'upper'? Keys: upper, left, lower"),
        (MINIMAL + "[settings]\nhideTolbar = true\n", "settings.hideTolbar: unknown key. Did you"),
        (MINIMAL + "[settings]\nmainHeight = '40'\n", "settings.mainHeight: "),
        (MINIMAL + "[settings]\nleftWidth = 101\n", "settings.leftWidth: "),
        (MINIMAL + "[settings]\ncenterPage = 1\n", "settings.centerPage: "),
        ("description = 3\n" + MINIMAL, "description: "),
        ("settings = 3\n" + MINIMAL, "settings: "),
        ('[upper]\nA = [{ modul = "DataTableModule" }]\n', "upper.A[0].modul"),
        (
            '[upper]\nA = [{ module = "DataTableModule", requiredForTab = true }]\n',
            "upper.A[0].requiredForTab: unknown key. Did you mean 'required_for_tab'?",
        ),
        ('[upper]\nA = "DataTableModule"\n', "upper.A: "),
        ("[upper]\nA = [3]\n", "upper.A[0]: "),
        ("[upper]\nA = []\n", "upper.A: is empty"),
        ("[upper]\n", "upper: is empty"),
        (MINIMAL + "[left]\nA = []\n", "left.A: is empty"),
        ("upper = 3\n", "upper: "),
        ("", "upper: is missing. Keys: upper, left"),
        ('[left]\nA = ["DataTableModule"]\n', "upper: is missing"),
        ('[upper]\nA = ["DataTableModule", "data-table-module"]\n', "upper.A[1]: 'data-table"),
        ('[upper]\n"<b>" = ["DataTableModule"]\n', "cannot be a tab's title"),
        ('[upper]\n" " = ["DataTableModule"]\n', "cannot be a tab's title"),
        ("[upper\n", "no valid TOML"),
        (MINIMAL + MINIMAL, "no valid TOML"),
    ],
)
def test_errors_name_file_and_key(tmp_path, text, expected):
    message = error_of(tmp_path, text)
    assert message.split(": ", 1)[1].startswith(expected) or expected in message


def test_missing_module_key_says_so(tmp_path):
    message = error_of(tmp_path, "[upper]\nA = [{ required_for_tab = true }]\n")
    assert "upper.A[0].module: is missing. Keys: module, required_for_tab" in message


def test_same_name_twice_names_both_files(tmp_path):
    first = write(tmp_path / "a", MINIMAL)
    second = write(tmp_path / "b", MINIMAL)
    with pytest.raises(ConfigError) as caught:
        layouts.load([tmp_path / "a", tmp_path / "b"])
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def test_folders_come_in_order(tmp_path):
    write(tmp_path / "b", MINIMAL, "zeta")
    write(tmp_path / "a", MINIMAL, "alpha")
    assert list(layouts.load([tmp_path / "b", tmp_path / "a"])) == ["zeta", "alpha"]


def test_unreadable_places(tmp_path):
    with pytest.raises(ConfigError, match="is no folder"):
        layouts.load([tmp_path / "nowhere"])
    write(tmp_path, MINIMAL, "bad name")
    with pytest.raises(ConfigError, match="cannot be a layout's name"):
        layouts.load([tmp_path])
    (tmp_path / "bad name.toml").unlink()
    (tmp_path / "mine.toml").write_bytes(b"description = '\xe9'")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        layouts.load([tmp_path])
    (tmp_path / "mine.toml").unlink()
    (tmp_path / "mine.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        layouts.load([tmp_path])
    assert layouts.load([]) == {}
