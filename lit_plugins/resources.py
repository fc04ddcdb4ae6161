"""Where the content that travels with the package lies: sample prompts and layouts."""

from pathlib import Path
from typing import Literal

from lit_plugins.errors import LitPluginsError

_PACKAGE = Path(__file__).resolve().parent


def folder(name: Literal["datasets", "layouts"]) -> Path:
    """Return the content folder called `name`.

    A wheel holds it as `lit_plugins/data/<name>`; in a checkout it is the top-level folder
    that a team edits.

    Raises:
      LitPluginsError: neither exists, so the installation is incomplete.

    """
    for candidate in (_PACKAGE / "data" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise LitPluginsError(
        f"The folder {name!r} of lit_plugins is missing; expected it in the installed package. "
        "Install lit-plugins again."
    )
