"""What other packages add: rows of the same kinds as ours, through one entry point each.

A package names a function in its pyproject.toml,

    [project.entry-points.lit_plugins]
    my_plugin = "my_package:register"

and that function is given an `Additions` to add its rows to. See docs/plugins.md.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_plugins.errors import LitPluginsError

if TYPE_CHECKING:
    from lit_plugins.attribution.methods import Method
    from lit_plugins.datasets import Reader
    from lit_plugins.models.kinds import Kind
    from lit_plugins.records import RecordTask

GROUP = "lit_plugins"

_log = logging.getLogger(__name__)


class PluginError(LitPluginsError):
    """A plugin adds something that cannot be added."""


@dataclass
class Additions:
    """What one plugin adds; nothing of it counts unless all of it can be added."""

    methods: list[Method] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    records: list[RecordTask] = field(default_factory=list)
    readers: dict[str, Reader] = field(default_factory=dict)
    layouts: list[Path] = field(default_factory=list)
    datasets: list[Path] = field(default_factory=list)

    def method(self, row: Method) -> None:
        """A method of explanation: see `lit_plugins.attribution.methods.Method`."""
        self.methods.append(row)

    def kind(self, row: Kind) -> None:
        """A task, and the models that do it: see `lit_plugins.models.kinds.Kind`."""
        self.kinds.append(row)

    def record_task(self, row: RecordTask) -> None:
        """What the records of a task hold: see `lit_plugins.records.RecordTask`."""
        self.records.append(row)

    def reader(self, extension: str, read: Reader) -> None:
        """A format of files: from a binary stream to records, each a mapping of JSON values."""
        self.readers[extension] = read

    def layout_folder(self, folder: str | Path) -> None:
        """A folder of layouts, `NAME.toml`."""
        self.layouts.append(Path(folder))

    def dataset_folder(self, folder: str | Path) -> None:
        """A folder of sample sets, `NAME.jsonl`."""
        self.datasets.append(Path(folder))


# What the plugins that were loaded have added, where no table holds it.
LAYOUT_FOLDERS: list[Path] = []
DATASET_FOLDERS: list[Path] = []


@functools.cache
def load() -> tuple[str, ...]:
    """Load all plugins that are installed, once a process; return the names of those that work.

    One that fails adds nothing, and the log says why: it must not keep the rest from working.
    """
    found = sorted(metadata.entry_points(group=GROUP), key=lambda one: one.name)
    return tuple(one.name for one in found if _load(one.name, one.load))


def _load(name: str, find: Callable[[], Any]) -> bool:
    try:
        add(find())
    except Exception as error:  # whatever a stranger's code raises
        reason = str(error) if isinstance(error, LitPluginsError) else repr(error)
        _log.warning("Plugin %r is left out: %s", name, reason)
        _log.info("Plugin %r", name, exc_info=True)
        return False
    return True


def add(register: Callable[[Additions], Any]) -> None:
    """Call a plugin's function and add what it brings. Raises PluginError, and adds nothing."""
    from lit_plugins import datasets, layouts, records, resources
    from lit_plugins.attribution.methods import METHODS, Method
    from lit_plugins.models.kinds import KINDS, Kind

    if not callable(register):
        raise PluginError(
            f"Its entry point is {type(register).__name__}. Expected a function that takes what "
            "is added to: def register(add): …"
        )
    new = Additions()
    register(new)
    tables: list[tuple[str, MutableMapping[str, Any], Mapping[str, Any]]] = [
        ("method", METHODS, _named("method", Method, new.methods)),
        ("task", KINDS, _named("task", Kind, new.kinds)),
        ("task of records", records.TASKS, _named("record_task", records.RecordTask, new.records)),
        ("reader of", datasets.READERS, new.readers),
    ]
    for what, table, rows in tables:
        for name in rows:
            if name in table or (table is datasets.READERS and name in datasets.EXTENSIONS):
                raise PluginError(f"There is a {what} {name!r} already. Take another name.")
    for extension, read in new.readers.items():
        if not extension.startswith(".") or extension != extension.lower() or not callable(read):
            raise PluginError(
                f"reader({extension!r}): expected an extension such as '.xml', and a function."
            )
    for folder in new.datasets:
        if not folder.is_dir():
            raise PluginError(f"{str(folder)!r} is no folder.")
    # Which says what is wrong, a name that is taken among it.
    layouts.load([resources.folder("layouts"), *LAYOUT_FOLDERS, *new.layouts])
    for _, table, rows in tables:
        table.update(rows)
    LAYOUT_FOLDERS.extend(new.layouts)
    DATASET_FOLDERS.extend(new.datasets)


def _named(what: str, row: type, rows: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in rows:
        if not isinstance(one, row):
            raise PluginError(f"{what}() got {type(one).__name__}. Expected a {row.__name__}.")
        name = getattr(one, "task", None) or getattr(one, "name", "")
        if name in found:
            raise PluginError(f"Two rows are named {name!r}. Rename one.")
        found[name] = one
    return found
