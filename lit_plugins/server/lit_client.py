"""Whether LIT's client is the one that ours extends.

LIT's client is a built bundle, and our modules use its private names. The files of the lit-nlp that
our modules were made for are known by their hashes. Other files get our modules as well if they
have the names; else LIT's page is served as it is.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from pathlib import Path

import lit_nlp

VERSION = "1.3.1"
ROOT = Path(lit_nlp.__path__[0]) / "client" / "build" / "default"
INDEX = "static/index.html"
HASHES = {
    "main.js": "91d48ef99ba0da6d64ed29a1b53891cb274175ac3dc1235b962e18fa825e8a88",
    INDEX: "50d9b552284a17eaa2aace4adffe51ed792dd6a3bb3d673421575eb791d336b7",
}

# As text: what `lit_plugins/client/lit` takes from the page at run time, and declares in lit.d.ts.
NAMES = {
    INDEX: ("<lit-app>", 'src="main.js"', "</head>", "</body>"),
    "main.js": (
        # elements
        "lit-app-toolbar",
        "lit-modules",
        "salience-map-module",
        "sequence-salience-module",
        # of all modules
        "selectionServiceIndex",
        "shouldReact",
        "shouldDisplayModule",
        "duplicateAsRow",
        "duplicateForExampleComparison",
        "duplicateForModelComparison",
        "infoMarkdown",
        "numCols",
        "setIsLoading",
        "loadLatest",
        "reactImmediately",
        "renderImpl",
        "firstUpdated",
        "requestUpdate",
        "_$litType$",
        # services
        "appState",
        "annotateNewData",
        "commitNewDatapoints",
        "compareExamplesEnabled",
        "currentDataset",
        "currentDatasetSpec",
        "currentInputDataById",
        "currentModelInfos",
        "currentModels",
        "getCurrentInputDataById",
        "getModelSpec",
        "selectionService",
        "primarySelectedId",
        "primarySelectedInputData",
        "selectIds",
        "setPrimarySelection",
        # of single elements
        "declaredLayout",
        "layoutSettings",
        "leftColumnWidth",
        "modulesService",
        "runInterpreter",
        "upperHeight",
        "willUpdate",
    ),
}

_log = logging.getLogger(__name__)


def is_known(root: Path) -> bool:
    """Return whether our modules can be added to the client in this folder; warn if in doubt."""
    return _is_known(root.resolve())


@functools.cache  # who asks again is not warned again
def _is_known(root: Path) -> bool:
    files = {name: _read(root / name) for name in HASHES}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    changed = [name for name in HASHES if hashes[name] != HASHES[name]]
    if not changed:
        return True
    found = ", ".join(
        f"{name} has the SHA-256 {hashes[name][:12]}…, expected {HASHES[name][:12]}…"
        for name in changed
    )
    missing = [
        text for name, texts in NAMES.items() for text in texts if text.encode() not in files[name]
    ]
    remedy = f"Install lit-nlp=={VERSION} anew (pip install --force-reinstall --no-deps)"
    if not missing:
        _log.warning(
            "LIT's client in '%s' is not that of lit-nlp %s: %s. It has all the names that our "
            "modules use, so they are on the page. If they fail: %s.",
            root, VERSION, found, remedy,
        )  # fmt: skip
        return True
    shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else "")
    _log.warning(
        "LIT's client in '%s' is not that of lit-nlp %s: %s. It lacks %s, which our modules use: "
        "the page is LIT's own, without them. %s, or leave --client_root out.",
        root, VERSION, found, shown, remedy,
    )  # fmt: skip
    return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # which has no name at all
