"""Layouts: which LIT modules stand where, read from TOML files.

A file `layouts/NAME.toml` is the layout NAME:

    description = "One line for LIT's Layout page."

    [left]                                  # left, upper, lower: tab title = modules, side by side
    Examples = ["DataTableModule"]

    [upper]                                 # the one group that must be there
    Salience = [{ module = "sequence-salience-module", required_for_tab = true }]

    [settings]                              # all optional
    hideToolbar = false
    mainHeight = 60                         # of the upper group, percent
    leftWidth = 40                          # of the left group, percent
    centerPage = false

A module is named by its class (`DataTableModule`) or by its element (`data-table-module`): LIT's,
or one of `OUR_MODULES`. With `required_for_tab` the tab is left out where that module has nothing
to show.

LIT's client answers an unknown module with an empty page, so everything is checked here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import attr
import pydantic
from lit_nlp.api import layout as lit_layout

from lit_plugins.errors import ConfigError
from lit_plugins.toml_file import did_you_mean, read_toml

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# The client writes open tabs into the URL, and titles into HTML.
_UNSAFE_IN_TITLES = re.compile(r"[<>&`\x00-\x1f\x7f]")
_GROUPS = ("left", "upper", "lower")


class OurModule(NamedTuple):
    """An element that `lit_plugins/client` defines, and LIT's that can stand in for it."""

    element: str
    stand_in: str | None


OUR_MODULES = {
    "SignedSequenceSalienceModule": OurModule(
        "signed-sequence-salience-module", "sequence-salience-module"
    ),
    "SalienceHeatMapModule": OurModule("salience-heat-map-module", None),
    "SalienceCompareModule": OurModule("salience-compare-module", None),
}


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)


class _Module(_Strict):
    module: str
    required_for_tab: bool = False


def _from_name(value: Any) -> Any:
    return {"module": value} if isinstance(value, str) else value


_Modules = Annotated[
    list[Annotated[_Module, pydantic.BeforeValidator(_from_name)]], pydantic.Field(min_length=1)
]
_Percent = Annotated[int, pydantic.Field(ge=0, le=100)]


class _Settings(_Strict):
    hideToolbar: bool = False
    mainHeight: _Percent = 45
    leftWidth: _Percent = 50
    centerPage: bool = False


class _Layout(_Strict):
    upper: Annotated[dict[str, _Modules], pydantic.Field(min_length=1)]
    left: dict[str, _Modules] = {}
    lower: dict[str, _Modules] = {}
    description: str = ""
    settings: _Settings = _Settings()


def load(folders: Sequence[Path]) -> dict[str, lit_layout.LitCanonicalLayout]:
    """Read every `*.toml` of the folders; layouts come by name, in the folders' order.

    Args:
      folders: folders of layout files.

    Raises:
      ConfigError: a folder or file cannot be read, or a layout is invalid, or two have one name. It
        names the file and the key, and lists what is valid.

    """
    elements = {module.name: str(module.value) for module in lit_layout.LitModuleName}
    elements |= {name: module.element for name, module in OUR_MODULES.items()}
    elements |= {element: element for element in elements.values()}
    layouts: dict[str, lit_layout.LitCanonicalLayout] = {}
    origins: dict[str, Path] = {}
    for folder in folders:
        if not Path(folder).is_dir():
            raise ConfigError(f"{folder}: is no folder; expected one that holds layouts (*.toml).")
        for path in sorted(Path(folder).glob("*.toml")):
            name = path.stem
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"{path}: {name!r} cannot be a layout's name; expected letters, digits and "
                    "_ . - after a first letter or digit. Rename the file."
                )
            if name in layouts:
                raise ConfigError(
                    f"{path}: the layout {name!r} is already defined in {origins[name]}. Rename "
                    "one of the files."
                )
            layouts[name] = _read(path, elements)
            origins[name] = path
    return layouts


def without_ours(
    layouts: Mapping[str, lit_layout.LitCanonicalLayout],
) -> dict[str, lit_layout.LitCanonicalLayout]:
    """Return the layouts for a page without our client: stand-ins for our modules, or nothing.

    A tab that has no module left is dropped; where `upper` has none, it shows what `lower` had.
    """
    return {name: _without_ours(layout) for name, layout in layouts.items()}


def _without_ours(layout: lit_layout.LitCanonicalLayout) -> lit_layout.LitCanonicalLayout:
    groups: dict[str, dict[str, list]] = {}
    for group in _GROUPS:
        tabs = {title: _stock(modules) for title, modules in getattr(layout, group).items()}
        groups[group] = {title: modules for title, modules in tabs.items() if modules}
    if not groups["upper"]:
        groups["upper"], groups["lower"] = groups["lower"], {}
    return attr.evolve(layout, **groups)


def _stock(modules: lit_layout.LitModuleList) -> list:
    """Return one tab's modules without ours."""
    stand_ins = dict(OUR_MODULES.values())
    elements = [_element(module) for module in modules]
    kept: list[str | lit_layout.LitModuleName | lit_layout.ModuleConfig] = []
    for module, element in zip(modules, elements, strict=True):
        if element not in stand_ins:
            kept.append(module)
            continue
        stand_in = stand_ins[element]
        if stand_in is None or stand_in in elements:
            continue
        if isinstance(module, lit_layout.ModuleConfig):
            kept.append(lit_layout.ModuleConfig(stand_in, module.requiredForTab))
        else:
            kept.append(stand_in)
    return kept


def _element(module: str | lit_layout.LitModuleName | lit_layout.ModuleConfig) -> str:
    name = module.module if isinstance(module, lit_layout.ModuleConfig) else module
    return name.value if isinstance(name, lit_layout.LitModuleName) else name


def _read(path: Path, elements: dict[str, str]) -> lit_layout.LitCanonicalLayout:
    """Read one file; `elements` maps every valid module name to its element's name."""
    content = read_toml(path)
    try:
        checked = _Layout(**content)
    except pydantic.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from None
    groups = {
        group: {
            title: _resolve(modules, path, f"{group}.{title}", elements)
            for title, modules in getattr(checked, group).items()
        }
        for group in _GROUPS
    }
    return lit_layout.LitCanonicalLayout(
        **groups,
        layoutSettings=lit_layout.LayoutSettings(**checked.settings.model_dump()),
        description=checked.description,
    )


def _resolve(
    modules: list[_Module], path: Path, key: str, elements: dict[str, str]
) -> list[str | lit_layout.ModuleConfig]:
    """Return one tab's modules as LIT takes them: element names, plain text."""
    title = key.partition(".")[2]
    if not title.strip() or _UNSAFE_IN_TITLES.search(title):
        raise ConfigError(
            f"{path}: {key.partition('.')[0]}: {title!r} cannot be a tab's title; expected text "
            "without < > & ` and control characters."
        )
    resolved: list[str | lit_layout.ModuleConfig] = []
    seen: set[str] = set()
    for number, module in enumerate(modules):
        where = f"{key}[{number}]"
        element = elements.get(module.module)
        if element is None:
            raise ConfigError(
                f"{path}: {where}: unknown module {module.module!r}."
                f"{did_you_mean(module.module, elements)} Modules: "
                f"{', '.join(sorted(set(elements.values())))}."
            )
        if element in seen:  # the client tells modules of a tab apart by their titles
            raise ConfigError(f"{path}: {where}: {module.module!r} is in this tab already.")
        seen.add(element)
        resolved.append(
            lit_layout.ModuleConfig(element, requiredForTab=True)
            if module.required_for_tab
            else element
        )
    return resolved


def _explain(error: pydantic.ValidationError) -> str:
    """Return the first error: its key, the problem, and what is valid."""
    first = error.errors()[0]
    *parents, key = first["loc"]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    where = where.removeprefix(".").replace("\n", "\\n")  # an error is one line
    if first["type"] in ("extra_forbidden", "missing"):
        # A layout, its settings, or a module: told apart by where the key stands.
        model = _Settings if parents == ["settings"] else _Module if parents else _Layout
        valid = list(model.model_fields)
        if first["type"] == "missing":
            return f"{where}: is missing. Keys: {', '.join(valid)}."
        return f"{where}: unknown key.{did_you_mean(str(key), valid)} Keys: {', '.join(valid)}."
    if first["type"] == "too_short":
        return f"{where}: is empty; expected at least one module in a tab, and one tab in upper."
    return f"{where}: {first['msg']}, got {ascii(first['input'])[:60]}."
