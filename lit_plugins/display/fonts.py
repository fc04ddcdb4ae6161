"""The fonts of pictures: matplotlib's own, and some for other scripts, if they are installed."""

from __future__ import annotations

import functools
import unicodedata

from matplotlib.font_manager import FontProperties, fontManager, get_font

from lit_plugins.display import wording

# Beside matplotlib's own, for other scripts, in this order, if they are installed.
FAMILIES = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "WenQuanYi Zen Hei",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Noto Sans Devanagari",
    "Noto Sans Bengali",
    "Noto Sans Thai",
    "Noto Emoji",
    "Segoe UI Symbol",
    "Arial Unicode MS",
)
MISSING = "□"


@functools.cache
def families() -> tuple[str, ...]:
    """Those of FAMILIES that are installed; the first always is."""
    installed = {font.name for font in fontManager.ttflist}
    return tuple(name for name in FAMILIES if name in installed)


def font(size: float, bold: bool = False) -> FontProperties:
    """The font of a size in points."""
    return FontProperties(
        family=list(families()),
        size=size,
        weight="bold" if bold else "normal",
        style="normal",
        variant="normal",
        stretch="normal",
    )


def drawable(text: str) -> str:
    """The text with □ for what no font shows; joiners and variants of emoji are left out."""
    known = _known()
    shown = []
    for character in wording.clean(text):
        if ord(character) in known or character in " \n\t":
            shown.append(character)
        elif unicodedata.category(character) not in ("Cf", "Mn", "Me"):
            shown.append(MISSING)
    return "".join(shown)


@functools.cache
def _known() -> frozenset[int]:
    """Characters that every weight of the fonts shows."""
    found: set[int] = set()
    for name in families():
        shown = [
            set(
                get_font(
                    fontManager.findfont(FontProperties(family=name, weight=weight))
                ).get_charmap()
            )
            for weight in ("normal", "bold")
        ]
        found |= shown[0] & shown[1]
    return frozenset(found)
