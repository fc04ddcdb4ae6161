"""From what a Report has counted to one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import functools
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lit_plugins.attribution.methods import METHODS
from lit_plugins.display import colours, html
from lit_plugins.display.wording import clean, cut, duration, number, percent
from lit_plugins.report import beeswarm
from lit_plugins.report.agreement import Compared, Pair
from lit_plugins.report.answers import Kept
from lit_plugins.report.tally import BINS, FEW, SAMPLED, ClassTally, Run, WordTally

if TYPE_CHECKING:
    from lit_plugins.report.report import Report

TOP = 10  # words for, and against
UNNAMED = "unnamed model"
MOST_CLASSES = 12
MOST_SWARMS = 24  # some tenths of a second, and 50 kB, each
MOST_LABELS = 12  # rows and columns of the table of answers
MOST_SPECIAL = 6
MOST_RUNS_ONE_BY_ONE = 4
FRAGMENT_TOKENS = 30_000  # of all explanations shown


@dataclass(frozen=True)
class Sentence:
    """Something found, in words, with where to read more."""

    text: str
    anchor: str


def render(report: Report) -> str:
    """The page."""
    runs = report.runs
    _name_runs(runs)
    shown = _Fragments()
    classes = list(_classes(report))
    context = {
        "title": report.title,
        "runs": [_run_row(run) for run in runs],
        "total": len(report),
        "models": _models(runs),
        "units": _units(runs),
        "unsigned": [run.label for run in runs if not run.signed],
        "methods": _methods(runs),
        "classes": classes,
        "swarms": any(card["swarm"] for one in classes for card in one["cards"]),
        "classes_left_out": _classes_left_out(runs),
        "minimum": report.minimum,
        "positions": [_positions(run) for run in runs if run.placed],
        "massless": sum(run.massless for run in runs),
        "special": [_special(run) for run in runs],
        "pairs": [
            _pair(runs[one], runs[other], pair)
            for (one, other), pair in sorted(report.matcher.pairs.items())
        ],
        "let_go": report.matcher.let_go,
        "answers": list(_answers(runs)),
        "duels": [_duel(ends, duel, shown) for ends, duel in report.duels.by_models.items()],
        "errors": _errors(runs, shown) if report.errors else [],
        "unsure": _unsure(runs, shown),
        "one_by_one": _one_by_one(runs, shown),
        "fragments_left_out": shown,
        "sampled": SAMPLED,
        "versions": _versions(runs),
        "colour_css": _colour_css(),
        "fragment_style": html.style(),
        "light": colours.LIGHT,
        "dark": colours.DARK,
        "findings": _findings(report, classes),
    }
    return _environment().get_template("report.html.jinja").render(context)


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("lit_plugins.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number,
        "plus": functools.partial(number, plus=True),
        "percent": percent,
        "duration": duration,
        "count": _count,
        "plural": _plural,
    }
    return made


def _finalize(value: object) -> object:
    """Control characters, which no page may hold, are drawn."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return clean(value)


def _count(value: int) -> str:
    return f"{value:,}".replace(",", "\u202f")


def _plural(value: int, one: str, several: str | None = None) -> str:
    return f"{_count(value)} {one if value == 1 else several or one + 's'}"


# Runs.


def _models(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(run.model for run in runs))


def _name_runs(runs: Sequence[Run]) -> None:
    """Labels as short as they may be while they tell the runs apart."""
    several = len(_models(runs)) > 1
    for run in runs:
        same = [other for other in runs if other.model == run.model and other.method == run.method]
        parts = [run.model or UNNAMED] if several else []
        parts.append(run.method)
        if len(same) > 1:
            dumps = [_options(other) for other in same]
            mine = _options(run)
            apart = {
                key: value
                for key, value in mine.items()
                if any(other.get(key) != value for other in dumps)
            }
            parts += [f"{key}={cut(str(value), 40)}" for key, value in apart.items()]
        run.label = ", ".join(parts)


def _options(run: Run) -> dict[str, Any]:
    found = run.options.model_dump(exclude={"baseline_text"})
    return {key: value for key, value in found.items() if value is not None}


def _run_row(run: Run) -> dict[str, Any]:
    errors = sorted(run.errors)
    judged = run.judged
    return {
        "label": run.label,
        "explanations": run.explanations,
        "cases": run.cases,
        "classes": len(run.classes),
        "tokens": run.tokens / run.explanations,
        "median_error": statistics.median(errors) if errors else None,
        "worst_error": errors[-1] if errors else None,
        "right": judged.right,
        "judged": judged.judged,
        "passes": (run.forward + run.backward) / run.explanations,
        "seconds": run.seconds,
        "warnings": [(text, count) for text, count in run.warnings.most_common()],
        "options": {
            key: cut(str(value), 80)
            for key, value in _options(run).items()
            if value is not False and key not in ("output", "foil")
        },
        "output": run.options.output,
    }


def _units(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(run.units for run in runs))


def _methods(runs: Sequence[Run]) -> list[dict[str, Any]]:
    found = []
    for name in dict.fromkeys(run.method for run in runs):
        row = METHODS.get(name)
        title, text = (row.title, row.description) if row else (name, "")
        found.append({"name": name, "title": title, "text": text})
    return found


def _versions(runs: Sequence[Run]) -> list[str]:
    found: dict[str, None] = {}
    for run in runs:
        found |= {f"{name} {version}": None for name, version in run.versions.items()}
    return list(found)


# Words.


def _classes(report: Report) -> Iterator[dict[str, Any]]:
    """The largest classes, each with a card of every run that has it."""
    room = MOST_SWARMS if report.beeswarms else 0
    for place, name in enumerate(_class_names(report.runs)[:MOST_CLASSES]):
        having = [run for run in report.runs if name in run.classes]
        cards = []
        for run in having:
            cards.append(_card(report, run, run.classes[name], name, room > 0))
            room -= cards[-1]["swarm"] is not None
        yield {"name": name, "anchor": f"class-{place}", "cards": cards}


def _class_names(runs: Iterable[Run]) -> list[str]:
    sizes: dict[str, int] = {}
    for run in runs:
        for name, tally in run.classes.items():
            sizes[name] = max(sizes.get(name, 0), tally.cases)
    return sorted(sizes, key=lambda name: (-sizes[name], name))


def _classes_left_out(runs: Sequence[Run]) -> list[str]:
    return [cut(name, 60) for name in _class_names(runs)[MOST_CLASSES:]]


def _card(report: Report, run: Run, tally: ClassTally, name: str, draw: bool) -> dict[str, Any]:
    minimum = report.minimum_of(tally.cases)
    directions = [("for", 1), ("against", -1)] if run.signed else [("much", 1)]
    chosen = {direction: tally.influential(minimum, TOP, sign) for direction, sign in directions}
    largest = max((abs(word.mean) for rows in chosen.values() for _, word in rows), default=0.0)
    return {
        "label": run.label,
        "units": run.units,
        "signed": run.signed,
        "cases": tally.cases,
        "occurrences": tally.occurrences,
        "vocabulary": len(tally.words) + tally.forgotten,
        "often": sum(word.count >= minimum for word in tally.words.values()),
        "forgotten": tally.forgotten,
        "minimum": minimum,
        "value": tally.value,
        "output": run.options.output,
        "lists": [
            {
                "direction": direction,
                "words": [_word(key, word, tally, largest) for key, word in rows],
            }
            for direction, rows in chosen.items()
        ],
        "swarm": _swarm(run, tally, name, minimum) if draw else None,
    }


def _word(key: str, word: WordTally, tally: ClassTally, largest: float) -> dict[str, Any]:
    return {
        "word": key,
        "mean": word.mean,
        "width": 100 * abs(word.mean) / largest if largest else 0,
        "lowest": word.lowest,
        "highest": word.highest,
        "count": word.count,
        "share": word.cases / tally.cases,
        "mass": word.absolute / tally.absolute if tally.absolute else 0.0,
        "examples": sorted(word.examples, reverse=True),
    }


def _swarm(run: Run, tally: ClassTally, name: str, minimum: int) -> dict[str, Any] | None:
    seen = {key for row in tally.sampled for key in row}
    words = [key for key in tally.heaviest(minimum) if key in seen][: beeswarm.ROWS]
    if len(tally.sampled) < 2 or not words:
        return None
    label = f"score of the word in a text ({run.units})"
    shown = [clean(word) for word in words]
    rows = [
        {new: row[word] for word, new in zip(words, shown, strict=True) if word in row}
        for row in tally.sampled
    ]
    light, dark = (
        base64.b64encode(picture).decode() for picture in beeswarm.beeswarm(rows, shown, label)
    )
    means = []
    for word in words:
        scores = [row[word] for row in tally.sampled if word in row]
        means.append(f"{clean(word)} {number(sum(scores) / len(scores), plus=run.signed)}")
    return {
        "light": light,
        "dark": dark,
        "alt": f"Beeswarm of {clean(name)} by {run.label}: {_plural(len(words), 'word')} in "
        f"{_plural(len(rows), 'text')}. Mean score where the word occurs, in {run.units}: "
        + ", ".join(means),
        "texts": len(rows),
        "all": tally.cases,
    }


# Where scores are.


def _positions(run: Run) -> dict[str, Any]:
    shares = (run.positions / run.placed).tolist()
    return {
        "label": run.label,
        "count": run.placed,
        "shares": shares,
        "heights": [100 * share / max(*shares, 2 / BINS) for share in shares],
        "even": 100 * (1 / BINS) / max(*shares, 2 / BINS),
    }


def _special(run: Run) -> dict[str, Any]:
    scored = run.special_scored
    return {
        "label": run.label,
        "known": run.own_known,
        "scored": scored,
        "share": run.special_share / scored if scored else None,
        "most": run.special_most,
        "tokens": [
            (cut(text, 40) or "(empty)", share / scored)
            for text, share in run.special.most_common(MOST_SPECIAL)
        ]
        if scored
        else [],
        "template": run.options.template,
    }


# Agreement.


def _pair(one: Run, other: Run, pair: Pair) -> dict[str, Any]:
    values = np.asarray(pair.correlations)
    quartiles = np.quantile(values, [0.25, 0.5, 0.75]).tolist() if len(values) else None
    return {
        "one": one.label,
        "other": other.label,
        "signed": one.signed and other.signed,
        "count": len(values),
        "quartiles": quartiles,
        "below": float(np.mean(values < 0)) if len(values) else None,
        "same_top": pair.same_top / len(values) if len(values) else None,
        "undefined": pair.undefined,
        "mismatched": pair.mismatched,
        "worst": [_compared(one, other, found) for found in pair.lowest()],
    }


def _compared(one: Run, other: Run, found: Compared) -> dict[str, Any]:
    return {
        "correlation": found.correlation,
        "target": found.target,
        "record": found.record,
        "rows": [
            {
                "label": run.label,
                "units": run.units,
                "best": float(scores[np.argmax(np.abs(scores))]),
                "spans": list(_coloured(found.text, found.spans, scores, run.signed)),
            }
            for run, scores in zip((one, other), found.scores, strict=True)
        ],
    }


def _coloured(
    text: str, spans: Sequence[tuple[int, int]], scores: np.ndarray, signed: bool
) -> Iterator[tuple[str, str, str]]:
    """Pieces of the text, each with its colour's class and its score in words."""
    scale = colours.Scale.of(scores, signed)
    # From visible characters to characters.
    places = [place for place, char in enumerate(text) if not char.isspace()]
    at = 0
    for (start, stop), score in zip(spans, scores.tolist(), strict=True):
        begin, end = places[start], places[stop - 1] + 1
        if begin > at:
            yield text[at:begin], "", ""
        yield text[begin:end], _colour(scale, score), number(score, plus=signed)
        at = end
    if at < len(text):
        yield text[at:], "", ""


def _colour(scale: colours.Scale, score: float) -> str:
    level = abs(scale.level(score))
    return f"{scale.direction(score)}-{level}" if level else ""


@functools.cache
def _colour_css() -> Markup:
    """A class for each direction and level, `for-1` and so on."""
    return Markup(
        "\n".join(
            f".{direction}-{level} {{ background: light-dark("
            f"{colours.shade(colours.LIGHT, direction, level / colours.LEVELS)}, "
            f"{colours.shade(colours.DARK, direction, level / colours.LEVELS)}); }}"
            for direction in colours.LIGHT.strongest
            for level in range(1, colours.LEVELS + 1)
        )
    )


# Answers.


def _answers(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """The first run of each model: its other runs are of the same answers."""
    for model in _models(runs):
        run = next(run for run in runs if run.model == model)
        judged = run.judged
        if not (judged.judged or judged.unclear):
            continue
        found = {label for pair in judged.table for label in pair}
        counts = {
            label: sum(count for pair, count in judged.table.items() if label in pair)
            for label in found
        }
        labels = sorted(found, key=lambda label: (-counts[label], label))[:MOST_LABELS]
        labels.sort()
        yield {
            "label": (model or UNNAMED) if len(_models(runs)) > 1 else "",
            "judged": judged.judged,
            "right": judged.right,
            "wrong": judged.wrong,
            "unclear": judged.unclear,
            "without": judged.without_gold,
            "on_trust": judged.on_trust,
            "labels": [cut(label, 40) for label in labels],
            "rows": [
                (
                    cut(gold, 40),
                    [(judged.table.get((gold, answer), 0), gold == answer) for answer in labels],
                )
                for gold in labels
            ],
            "left_out": len(found) - len(labels),
        }


class _Fragments:
    """Explanations shown in full, up to a number of tokens."""

    def __init__(self) -> None:
        self.left_out = 0
        self._room = FRAGMENT_TOKENS

    def show(self, kept: Kept) -> Markup | None:
        rows = len(kept.explanation.scores) if kept.explanation.scores.ndim == 2 else 1
        size = len(kept.explanation.tokens) * rows
        if size > self._room:
            self.left_out += 1
            return None
        self._room -= size
        return Markup(html.fragment(kept.explanation, styled=False, level=4))


def _shown(label: str, kept: Kept, shown: _Fragments) -> dict[str, Any]:
    return {"label": label, "fragment": shown.show(kept)}


def _head(kept: Kept) -> dict[str, Any]:
    return {
        "record": kept.record,
        "gold": None if kept.gold is None else cut(kept.gold, 80),
        "answer": None if kept.answer is None else cut(kept.answer, 80),
        "sure": kept.sure,
    }


def _errors(runs: Sequence[Run], shown: _Fragments) -> list[dict[str, Any]]:
    """Each model's wrong answers, surest first, with the explanations of all its runs."""
    models = _models(runs)
    found: dict[tuple[str, bytes], dict[str, Any]] = {}
    kept_of = [(run, run.judged.surest_errors()) for run in runs]
    order = [
        (models.index(run.model), -(kept.sure or 0.0), place, run.number, run, kept)
        for run, errors in kept_of
        for place, kept in enumerate(errors)
    ]
    for *_, run, kept in sorted(order, key=lambda row: row[:4]):
        entry = found.setdefault(
            (run.model, kept.identity), {**_head(kept), "model": run.model, "shown": {}}
        )
        entry["shown"][run.number] = (run.label, kept)
    # Runs of one model may have kept others of equal probability.
    room = {
        model: max(len(errors) for run, errors in kept_of if run.model == model) for model in models
    }
    chosen = []
    for (model, _), entry in found.items():
        if room[model] == 0:
            continue
        room[model] -= 1
        chosen.append(entry)
        by_run = sorted(entry["shown"].items())
        entry["shown"] = [_shown(label, kept, shown) for _, (label, kept) in by_run]
    return chosen


def _unsure(runs: Sequence[Run], shown: _Fragments) -> list[dict[str, Any]]:
    """Without gold labels: answers of the lowest probability, by the first run of each model."""
    if any(run.judged.judged for run in runs) or all(run.explanations <= FEW for run in runs):
        return []
    found = []
    for model in _models(runs):
        run = next(run for run in runs if run.model == model)
        found += [
            {**_head(kept), "model": run.model, "shown": [_shown(run.label, kept, shown)]}
            for kept in run.judged.least_sure()
        ]
    return found


def _one_by_one(runs: Sequence[Run], shown: _Fragments) -> list[dict[str, Any]]:
    """All explanations, if there are few."""
    if any(run.explanations > FEW for run in runs) or len(runs) > MOST_RUNS_ONE_BY_ONE:
        return []
    # Errors have a place of their own.
    wrong = {id(kept) for run in runs for *_, kept in run.judged.errors}
    return [
        {**_head(kept), "model": run.model, "shown": [_shown(run.label, kept, shown)]}
        for run in runs
        for kept in run.first
        if id(kept) not in wrong
    ]


def _duel(ends: tuple[str, str], duel: Any, shown: _Fragments) -> dict[str, Any]:
    known = duel.both + duel.first + duel.second + duel.neither
    return {
        "models": [name or UNNAMED for name in ends],
        "same": duel.same,
        "different": duel.different,
        "unclear": duel.unclear,
        "known": known,
        "both": duel.both,
        "first": duel.first,
        "second": duel.second,
        "neither": duel.neither,
        "inputs": [
            {
                "gold": _head(one)["gold"],
                "record": _head(one)["record"],
                "sides": [
                    {**_head(kept), **_shown(name, kept, shown)}
                    for name, kept in zip(ends, (one, other), strict=True)
                ],
            }
            for one, other in duel.surest()
        ],
    }


# In short.


def _findings(report: Report, classes: Sequence[dict[str, Any]]) -> list[Sentence]:
    """What a reader should know first; each sentence is only there if there is something to say."""
    found: list[Sentence] = []
    runs = report.runs
    for row in _answers(runs):
        if row["judged"]:
            who = f"{row['label']}: " if row["label"] else ""
            found.append(
                Sentence(
                    f"{who}{_count(row['wrong'])} of {_plural(row['judged'], 'answer')} "
                    f"{'is' if row['wrong'] == 1 else 'are'} wrong "
                    f"({percent(row['wrong'] / row['judged'])}).",
                    "errors",
                )
            )
    for one in classes[:4]:
        card = one["cards"][0]
        words = [
            f"{word['word']} ({_count(word['count'])}×)" for word in card["lists"][0]["words"][:5]
        ]
        if words:
            verb = "speak most for" if card["signed"] else "weigh most for"
            found.append(
                Sentence(
                    f"{', '.join(words)} {verb} {one['name']}"
                    + (f" ({card['label']})." if len(runs) > 1 else "."),
                    one["anchor"],
                )
            )
    for run in runs:
        special = _special(run)
        if special["share"] is not None and special["share"] >= 0.2:
            found.append(
                Sentence(
                    f"{percent(special['share'])} of the absolute scores of {run.label} is on "
                    "special tokens, not on the text.",
                    "special",
                )
            )
    for (one, other), pair in sorted(report.matcher.pairs.items()):
        if len(pair.correlations):
            found.append(
                Sentence(
                    f"{runs[one].label} and {runs[other].label} rank the parts of a text with a "
                    f"median correlation of {number(statistics.median(pair.correlations))}; the "
                    "part of the largest score is the same in "
                    f"{percent(pair.same_top / len(pair.correlations))} of the texts.",
                    "agreement",
                )
            )
    for ends, duel in report.duels.by_models.items():
        answered = duel.same + duel.different
        if answered:
            found.append(
                Sentence(
                    f"{ends[0]} and {ends[1]} answer "
                    f"{_plural(duel.different, 'input')} of {_count(answered)} differently.",
                    "models",
                )
            )
    return found
