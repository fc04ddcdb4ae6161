"""A sheet of paper: boxes, lines and words at places in points, y downwards, and the file of it."""

from __future__ import annotations

import functools
import io
import threading
from typing import Any, Literal

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Affine2D

from lit_plugins.display import fonts
from lit_plugins.display.colours import LIGHT

Format = Literal["png", "svg", "pdf"]
DPI = 200
SOFT = "#585d68"

# Whatever the user's own style, pictures are the same; ids in them are not random.
_SETTINGS: dict[Any, Any] = {
    "path.effects": [],
    "path.sketch": None,
    "pdf.fonttype": 42,
    "savefig.bbox": None,
    "savefig.transparent": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "lit-plugins",
    "text.hinting": "none",
    "text.usetex": False,
}
# No dates, no version of the program.
_METADATA: dict[Format, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_SETTING = threading.Lock()  # settings are matplotlib's, for all threads


@functools.lru_cache(maxsize=65536)
def width(text: str, size: float, bold: bool = False) -> float:
    """How wide words are, in points, spaces at their end included."""
    if text.endswith(" "):  # which has no ink
        return width(text + "|", size, bold) - width("|", size, bold)
    font = fonts.font(size, bold)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] if text else 0.0


class Canvas:
    """What is drawn, until the height is known. Text is shown as it is: `$` is no formula."""

    def __init__(self, width: float):
        self.width = width
        self._boxes: list[tuple[list[tuple[float, float]], str]] = []
        self._frames: list[tuple[list[tuple[float, float]], str]] = []
        self._lines: list[tuple[list[tuple[float, float]], str, str]] = []
        self._texts: list[tuple[float, float, str, dict]] = []

    def box(self, x: float, y: float, wide: float, high: float, colour: str) -> None:
        """A filled rectangle; (x, y) is its upper left corner."""
        self._boxes.append((_corners(x, y, wide, high), colour))

    def frame(self, x: float, y: float, wide: float, high: float, colour: str) -> None:
        """An empty rectangle."""
        self._frames.append((_corners(x, y, wide, high), colour))

    def line(self, x: float, y: float, wide: float, colour: str, dotted: bool = False) -> None:
        """A level line from (x, y) to the right."""
        self._lines.append(([(x, y), (x + wide, y)], colour, ":" if dotted else "-"))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        colour: str = LIGHT.ink,
        *,
        bold: bool = False,
        align: Literal["left", "center", "right"] = "left",
        turned: float = 0.0,
    ) -> None:
        """Words whose baseline begins, or ends, or has its middle, at (x, y)."""
        look = {
            "color": colour,
            "fontproperties": fonts.font(size, bold),
            "horizontalalignment": align,
            "rotation": turned,
        }
        self._texts.append((x, y, fonts.drawable(text), look))

    def save(self, height: float, form: Format, title: str) -> bytes:
        """The file, of so many points in height."""
        written = io.BytesIO()
        metadata = dict(_METADATA[form]) | {"Title": fonts.drawable(title)}
        with _SETTING, matplotlib.rc_context(_SETTINGS):
            figure = Figure(figsize=(self.width / 72, height / 72), dpi=DPI, facecolor=LIGHT.page)
            FigureCanvasAgg(figure)
            self._draw(figure, height)
            figure.savefig(
                written,
                format=form,
                dpi=DPI,
                facecolor=LIGHT.page,
                edgecolor="none",
                metadata=metadata,
            )
        return written.getvalue()

    def _draw(self, figure: Figure, height: float) -> None:
        points = Affine2D().scale(1, -1).translate(0, height).scale(1 / 72)
        place = points + figure.dpi_scale_trans
        for boxes, filled in ((self._boxes, True), (self._frames, False)):
            colours = [colour for _, colour in boxes]
            collection = PolyCollection(
                [corners for corners, _ in boxes],
                facecolors=colours if filled else "none",
                edgecolors="none" if filled else colours,
                linewidths=0 if filled else 0.9,
                transform=place,
            )
            figure.add_artist(collection)
        for style in ("-", ":"):
            lines = [line for line in self._lines if line[2] == style]
            collection = LineCollection(
                [ends for ends, _, _ in lines],
                colors=[colour for _, colour, _ in lines],
                linewidths=0.6 if style == "-" else 0.9,
                linestyles=style if style == "-" else (0, (1, 1.2)),
                transform=place,
            )
            figure.add_artist(collection)
        for x, y, text, look in self._texts:
            figure.add_artist(
                Text(
                    x,
                    y,
                    text,
                    verticalalignment="baseline",
                    rotation_mode="anchor",
                    parse_math=False,
                    usetex=False,
                    transform=place,
                    **look,
                )
            )


def _corners(x: float, y: float, wide: float, high: float) -> list[tuple[float, float]]:
    return [(x, y), (x + wide, y), (x + wide, y + high), (x, y + high)]
