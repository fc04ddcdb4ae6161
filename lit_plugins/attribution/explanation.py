"""The answer: what every method returns, immutable, with what a careful reader needs to know."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

import lit_plugins
from lit_plugins.attribution.options import Options

if TYPE_CHECKING:
    import pandas as pd

_SPACE = "▁"  # what `tokens` show for a space


@dataclass(frozen=True)
class Segment:
    """Tokens that share one score: `[start, stop)`, and the text they make."""

    start: int
    stop: int
    text: str


@dataclass(frozen=True)
class Part:
    """A piece of an input as it is shown: a segment, or a token that has no score.

    Attributes:
        text: As in the input, spaces and line breaks included.
        score: Its score, or one a target with `each`, (targets,); None for what has none.
        own: Whether it is the user's own text; False for special tokens and templates.
        target: Whether it is among what is explained: a token of the answer, a tagged word.
        start: The first of its tokens.
        stop: Behind the last of them.

    """

    text: str
    score: float | np.ndarray | None
    own: bool
    target: bool
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Explanation:
    """Scores of the parts of one input, for one score of the model.

    Attributes:
        method: Its name in METHODS.
        options: All of them, defaults included.
        tokens: The input as the model sees it, target included, as shown to people.
        segments: What has a score, in the order of the text.
        scores: (segments,), or (targets, segments) with `each`. Read-only, always finite.
        targets: Places of the tokens explained, in `tokens`; numbers of the labels explained.
        names: What each of them is called.
        foil: What the target is compared with, as text; None without contrast.
        signed: Whether a negative score means "against the target".
        units: Of a score.
        value: The score explained at the input itself, () or (targets,), in the units of `output`.
        baseline_value: The same at the baseline, where the method has one.
        convergence_error: |sum of scores - (value - baseline_value)| as a share of
            |value - baseline_value|, for methods whose scores should sum to that; the largest of
            the targets.
        warnings: What to beware of, in plain words.
        forward: Forward passes of the model, of one text each.
        backward: Backward passes.
        seconds: Of wall-clock time.
        notes: What the method itself found, such as the steps that `auto` took.
        own: For each token, whether it is the user's own text, not a special token or part of a
            template. Empty if that is not known.
        places: Places of the tokens explained, in `tokens`; none where a label is explained.
        inputs: The texts that were given, by the names of the model's fields.
        model: Where the model is from, as it was asked for.
        task: What the model does, one of `lit_plugins.models.kinds.KINDS`.
        versions: Of the packages that computed it.

    """

    method: str
    options: Options
    tokens: tuple[str, ...]
    segments: tuple[Segment, ...]
    scores: np.ndarray
    targets: tuple[int, ...]
    signed: bool
    units: str
    value: np.ndarray
    names: tuple[str, ...] = ()
    baseline_value: np.ndarray | None = None
    foil: str | None = None
    convergence_error: float | None = None
    warnings: tuple[str, ...] = ()
    forward: int = 0
    backward: int = 0
    seconds: float = 0.0
    notes: Mapping[str, Any] = field(default_factory=dict)
    own: tuple[bool, ...] = ()
    places: tuple[int, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    task: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("scores", "value", "baseline_value"):
            values = getattr(self, name)
            if values is not None:
                values = np.array(values)
                values.setflags(write=False)
                object.__setattr__(self, name, values)
        for name in ("notes", "inputs", "versions"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Explanation):
            return NotImplemented
        pairs = ((getattr(self, one.name), getattr(other, one.name)) for one in fields(self))
        return all(_same(*pair) for pair in pairs)

    def __hash__(self) -> int:
        return hash((self.method, self.tokens, self.targets, self.scores.tobytes()))

    def __reduce__(self) -> Any:
        # Views of mappings cannot be pickled or copied.
        values = (getattr(self, one.name) for one in fields(self))
        plain = [dict(one) if isinstance(one, MappingProxyType) else one for one in values]
        return type(self), tuple(plain)

    def per_token(self) -> np.ndarray:
        """Scores (tokens,), or (targets, tokens): a segment's, spread evenly over its tokens.

        So sums over segments are the segments' scores again. Tokens of no segment have zero.
        """
        spread = np.zeros((*self.scores.shape[:-1], len(self.tokens)), self.scores.dtype)
        for place, segment in enumerate(self.segments):
            share = self.scores[..., place] / (segment.stop - segment.start)
            spread[..., segment.start : segment.stop] = share[..., None]
        return spread

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k segments of the largest absolute score, summed over targets, largest first."""
        totals = self.scores if self.scores.ndim == 1 else self.scores.sum(0)
        order = np.argsort(-np.abs(totals), kind="stable")[:k]
        return [(self.segments[place].text, float(totals[place])) for place in order]

    def parts(self) -> list[Part]:
        """The whole input in its order: what has a score, and the tokens between."""
        found: list[Part] = []
        explained = set(self.places)

        def add(text: str, score: Any, start: int, stop: int) -> None:
            own = all(self.own[start:stop])
            target = bool(explained & set(range(start, stop)))
            found.append(Part(text, score, own, target, start, stop))

        stop = 0
        for number, segment in enumerate(self.segments):
            for place in range(stop, segment.start):
                add(self.tokens[place].replace(_SPACE, " "), None, place, place + 1)
            score = self.scores[..., number]
            score = float(score) if score.ndim == 0 else score
            add(segment.text, score, segment.start, segment.stop)
            stop = max(stop, segment.stop)
        for place in range(stop, len(self.tokens)):
            add(self.tokens[place].replace(_SPACE, " "), None, place, place + 1)
        return found

    # To elsewhere.

    def to_json(self, path: str | Path | None = None) -> str:
        """One line of JSON, as docs/explanation-json.md describes it; also written to `path`."""
        from lit_plugins.attribution import exchange

        return written(exchange.dump(self), path)

    @staticmethod
    def from_json(source: str | bytes | Path) -> Explanation:
        """The same explanation again, from JSON or from the path of a file of it.

        Raises DataError for what is no such JSON.
        """
        from lit_plugins.attribution import exchange

        return exchange.load(source)

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each part; with `each`, for each part and target."""
        from lit_plugins.display import table

        return table.frame(self)

    def to_html(self, path: str | Path | None = None) -> str:
        """A whole page: no scripts, no network; also written to `path`."""
        from lit_plugins.display import html

        return written(html.page([self]), path)

    def to_png(self, path: str | Path | None = None) -> bytes:
        """A picture; also written to `path`."""
        return self._picture("png", path)

    def to_svg(self, path: str | Path | None = None) -> bytes:
        """A picture that can be enlarged; also written to `path`."""
        return self._picture("svg", path)

    def to_pdf(self, path: str | Path | None = None) -> bytes:
        """A picture for print; also written to `path`."""
        return self._picture("pdf", path)

    def show_in_lit(self, **widget: Any) -> Any:
        """LIT's page with the model and this input: see `lit_plugins.notebook.show`."""
        from lit_plugins import notebook

        return notebook.show([self], **widget)

    def _picture(self, form: Any, path: str | Path | None) -> bytes:
        from lit_plugins.display import pictures

        made = pictures.picture(self, form)
        if path is not None:
            Path(path).write_bytes(made)
        return made

    def _repr_html_(self) -> str:
        from lit_plugins.display import html

        return html.fragment(self)

    def __repr__(self) -> str:
        of = ", ".join(self.names[:3]) + (", …" if len(self.names) > 3 else "")
        parts = ", ".join(f"{text!r}: {score:.3g}" for text, score in self.top(3))
        return f"<Explanation of {of or 'a score'} by {self.method}: {parts} ({self.units})>"


@functools.cache
def versions_of(*packages: str) -> Mapping[str, str]:
    """The version of ours, of Captum and of these packages, where they are installed."""
    found = {"lit-plugins": lit_plugins.__version__}
    for name in ("captum", *packages):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, MappingProxyType):
        return dict(one) == dict(other)
    return bool(one == other)


def written(text: str, path: str | Path | None) -> str:
    """The text, which is also in the file at `path` then, if that is given."""
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text
