"""The summary plot of the shap library, of words: one row a word, one dot a text."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lit_plugins.errors import LitPluginsError

ROWS = 10  # words
LONGEST = 24  # characters of a word beside its row
DOTS_PER_INCH = 130

# shap draws into whatever figure pyplot calls the current one, and shuffles by NumPy's own state.
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Ink:
    """Colours of a picture."""

    paper: str
    text: str
    line: str
    present: str
    absent: str


LIGHT = Ink(paper="#ffffff", text="#333333", line="#8a8a8a", present="#0b62a8", absent="#cfcfcf")
DARK = Ink(paper="#15171c", text="#d6d6d6", line="#7d7d7d", present="#6db7f2", absent="#4a4d52")


def beeswarm(
    rows: Sequence[Mapping[str, float]],
    words: Sequence[str],
    label: str,
    inks: Sequence[Ink] = (LIGHT, DARK),
) -> list[bytes]:
    """PNGs of `shap.plots.beeswarm`: words from top to bottom as given, a dot for each row.

    Args:
        rows: Of each text, the score of each of its words.
        words: ROWS at most.
        label: Of the axis.
        inks: Colours of each picture; they differ in nothing else.

    A word that a text does not have is a pale dot at zero. The same input gives the same bytes.
    Raises LitPluginsError if shap or matplotlib is not installed.

    """
    shap, figures, manager_of = _libraries()
    values = np.array([[row.get(word, 0.0) for word in words] for row in rows])
    present = np.array([[1.0 if word in row else np.nan for word in words] for row in rows])
    with _LOCK, _quiet_state():
        import matplotlib

        with matplotlib.rc_context(
            {
                "text.parse_math": False,
                "font.family": ["DejaVu Sans"],
            }
        ):
            figure = manager_of(figures)
            try:
                axes = _drawn(shap, values, present, words, label)
                return [_painted(figure, axes, ink) for ink in inks]
            finally:
                figures.destroy(figure.canvas.manager)


def _drawn(
    shap: Any, values: np.ndarray, present: np.ndarray, words: Sequence[str], label: str
) -> Any:
    """The axes of shap's plot, in the current figure."""
    explained = shap.Explanation(
        values, data=present, feature_names=[_short(word) for word in words]
    )
    axes = shap.plots.beeswarm(
        explained,
        max_display=len(words),
        order=np.arange(len(words)),
        color_bar=False,
        plot_size=(6.4, 0.36 * len(words) + 1.0),
        s=13,
        show=False,
    )
    axes.set_xlabel(label, fontsize=11)
    axes.tick_params(axis="y", labelsize=11.5)
    axes.tick_params(axis="x", labelsize=10)
    return axes


def _painted(figure: Any, axes: Any, ink: Ink) -> bytes:
    from matplotlib.colors import ListedColormap

    figure.set_facecolor(ink.paper)
    axes.set_facecolor(ink.paper)
    for dots in axes.collections:
        # shap paints what has no feature value, here absent words, in its own grey.
        if dots.get_array() is None:
            dots.set_facecolor(ink.absent)
            dots.set_zorder(2)
        else:
            dots.set_cmap(ListedColormap([ink.present]))
            dots.set_clim(0, 1)  # shap's own limits are no numbers where some are missing
    for line in axes.get_lines():
        line.set_color(ink.line)
        line.set_alpha(0.6)
    axes.spines["bottom"].set_color(ink.line)
    axes.xaxis.label.set_color(ink.text)
    axes.tick_params(color=ink.line, labelcolor=ink.text)
    with io.BytesIO() as target:
        figure.savefig(
            target,
            format="png",
            dpi=DOTS_PER_INCH,
            bbox_inches="tight",
            pad_inches=0.08,
            metadata={"Software": None},
        )
        return target.getvalue()


def _short(word: str) -> str:
    return word if len(word) <= LONGEST else word[: LONGEST - 1] + "…"


def _libraries() -> tuple[Any, Any, Any]:
    try:
        with warnings.catch_warnings():
            # shap 0.45 sets matplotlib's colour maps in a way that is going away.
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            import shap
        from matplotlib._pylab_helpers import Gcf
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LitPluginsError(
            f"Beeswarms need {error.name or 'shap'}: pip install 'lit-plugins[report]', or leave "
            "them out with beeswarms=False."
        ) from None

    def current_figure(figures: Any) -> Any:
        """A figure that pyplot takes for the current one, without choosing a backend for it."""
        figure = Figure()
        number = max(figures.figs, default=0) + 1
        manager = FigureCanvasAgg.new_manager(figure, number)
        figures._set_new_active_manager(manager)
        return figure

    return shap, Gcf, current_figure


@contextlib.contextmanager
def _quiet_state() -> Iterator[None]:
    """NumPy's own random state as it was; no warning of letters that a font lacks."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
            warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
            yield
    finally:
        np.random.set_state(state)
