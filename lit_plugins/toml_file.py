"""Files that people write by hand: how they are read, and what is said of a misspelt name."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lit_plugins.errors import ConfigError


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file. Raises ConfigError, which names the file."""
    try:
        # With a newline, an error in the last line says which one that is.
        return tomllib.loads(path.read_text("utf-8") + "\n")
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is no valid TOML: {error}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8; save it in that encoding.") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply; take levels out.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}.") from None


def did_you_mean(name: str, valid: Collection[str]) -> str:
    """Return ' Did you mean …?', or nothing if no valid name is near."""
    near = difflib.get_close_matches(name, valid, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
