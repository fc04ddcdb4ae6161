"""Explanations as pictures for papers and slides: PNG, SVG, PDF; the same bytes every time."""

from __future__ import annotations

from lit_plugins.attribution.explanation import Explanation
from lit_plugins.display import wording
from lit_plugins.display.colours import LEVELS, Scale
from lit_plugins.display.view import KEYS, View, view
from lit_plugins.errors import LitPluginsError

try:
    from lit_plugins.display import flow, heatmap
    from lit_plugins.display.canvas import SOFT, Canvas, Format
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "matplotlib":
        raise
    raise LitPluginsError("Pictures need: pip install 'lit-plugins[report]'") from None

WIDTH, MARGIN = 504.0, 16.0  # of the sheet, in points: seven inches
ALARM, ALARM_LINE = "#fff4d6", "#b87a00"


def picture(explanation: Explanation, format: Format) -> bytes:
    """The text with coloured parts, or with `each` a map of targets and parts; with a legend.

    Raises LitPluginsError without matplotlib, or for another format.
    """
    if format not in ("png", "svg", "pdf"):
        raise LitPluginsError(f"format is {format!r:.40}. Expected png, svg or pdf.")
    shown = view(explanation, heatmap.MOST_ROWS)
    matrix = heatmap.grid(shown) if explanation.scores.ndim == 2 else None
    sheet = Canvas(max(WIDTH, 2 * MARGIN + matrix.least) if matrix else WIDTH)
    y = _draw_head(sheet, shown, MARGIN)
    if matrix is None:
        y = flow.draw(sheet, shown.rows[0].pieces, shown.scale, MARGIN, y)
    else:
        y = heatmap.draw(sheet, matrix, shown, MARGIN, y)
    y = _draw_legend(sheet, shown, y + 24, matrix is not None)
    return sheet.save(y + MARGIN, format, shown.heading)


def _draw_head(sheet: Canvas, shown: View, y: float) -> float:
    room = sheet.width - 2 * MARGIN
    for line in flow.wrap(shown.heading, 13, room, bold=True):
        y += 16
        sheet.text(MARGIN, y, line, 13, bold=True)
    for line in flow.wrap(" · ".join(shown.about), 8.5, room):
        y += 13
        sheet.text(MARGIN, y, line, 8.5, SOFT)
    y += 4
    for warning in shown.warnings:
        y = _draw_warning(sheet, warning, y + 5, room)
    return y + 4


def _draw_warning(sheet: Canvas, warning: str, y: float, room: float) -> float:
    lines = flow.wrap(f"Beware: {warning}", 8.5, room - 18)
    high = 12 * len(lines) + 8
    sheet.box(MARGIN, y, room, high, ALARM)
    sheet.box(MARGIN, y, 3, high, ALARM_LINE)
    for number, line in enumerate(lines):
        sheet.text(MARGIN + 10, y + 13 + 12 * number, line, 8.5)
    return y + high


def _draw_legend(sheet: Canvas, shown: View, y: float, matrix: bool) -> float:
    scale, wide, high = shown.scale, 200.0, 8.0
    largest = wording.number(scale.largest)
    if not scale.largest:
        sheet.text(MARGIN, y, "All scores are 0, or there are none.", 8.5, SOFT)
        return y
    above = ("speaks against", "speaks for") if scale.signed else ("how much it matters", "")
    below = (f"−{largest}", f"+{largest}") if scale.signed else ("0", largest)
    for text, place in ((above, y), (below, y + 5 + high + 9)):
        sheet.text(MARGIN, place, text[0], 8, SOFT)
        sheet.text(MARGIN + wide, place, text[1], 8, SOFT, align="right")
    if scale.signed:
        sheet.text(MARGIN + wide / 2, y + 5 + high + 9, "0", 8, SOFT, align="center")
    sheet.text(MARGIN + wide + 8, y + 5 + high + 9, shown.units, 8, SOFT)
    _draw_bar(sheet, scale, y + 5, wide, high)
    if not matrix:
        for number, key in enumerate(shown.keys):
            text = f"{KEYS[key][0]}: {KEYS[key][1]}"
            sheet.text(MARGIN + wide + 130, y + 11 * number, text, 8, SOFT)
    return y + 5 + high + 9


def _draw_bar(sheet: Canvas, scale: Scale, y: float, wide: float, high: float) -> None:
    first = -LEVELS if scale.signed else 0
    step = wide / (LEVELS - first + 1)
    for place, level in enumerate(range(first, LEVELS + 1)):
        colour = scale.colour(scale.largest * level / LEVELS)
        sheet.box(MARGIN + place * step, y, step + 0.2, high, colour)
    sheet.frame(MARGIN, y, wide, high, "#c9cdd5")
