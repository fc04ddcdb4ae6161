"""Models, explanations, data and layouts for the Learning Interpretability Tool (LIT).

Importing the package imports no machine-learning framework; each is imported when a
model that needs it is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lit_plugins.attribution.explanation import Explanation
    from lit_plugins.errors import LitPluginsError
    from lit_plugins.explaining import load

__version__ = "0.1.0"
__all__ = ["Explanation", "LitPluginsError", "__version__", "load"]

_HOMES = {
    "Explanation": "attribution.explanation",
    "LitPluginsError": "errors",
    "load": "explaining",
}


def __getattr__(name: str) -> Any:
    # On first use, so that the import itself is quick.
    if name not in _HOMES:
        raise AttributeError(f"module 'lit_plugins' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"lit_plugins.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
