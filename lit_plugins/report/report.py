"""A report of many explanations: what the model looks at over a whole data set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lit_plugins.attribution.explanation import Explanation
from lit_plugins.errors import DataError, InputError
from lit_plugins.report import page
from lit_plugins.report.agreement import Matcher
from lit_plugins.report.answers import UNJUDGED, Duels, Kept, gold_labels, said
from lit_plugins.report.reading import read
from lit_plugins.report.tally import FEW, Run

TITLE = "What the model looks at"
MOST_RUNS = 12

# What records hold beside their texts.
_GOLD = ("label", "labels", "answers")


class Report:
    """Counts explanations one at a time; of the explanations themselves it keeps a few.

    Explanations of several models, methods or options are counted apart, and shown side by side.
    Memory does not grow with their number, but for some bytes an input that wait for a
    counterpart.

    Args:
        title: Of the page.
        minimum: Occurrences from which on a word is ranked. Default: 2, or one in 200 texts of
            the class, if that is more.
        errors: Wrong answers shown of each run.
        beeswarms: Whether to draw them, which needs shap.

    """

    def __init__(
        self,
        title: str = TITLE,
        *,
        minimum: int | None = None,
        errors: int = 8,
        beeswarms: bool = True,
    ) -> None:
        if minimum is not None and minimum < 1:
            raise InputError(f"minimum is {minimum}. Expected 1 or more occurrences.")
        self.title = title
        self.minimum = minimum
        self.errors = errors
        self.beeswarms = beeswarms
        self.runs: list[Run] = []
        self.matcher = Matcher()
        self.duels = Duels()
        self._numbers: dict[tuple[str, str, str], int] = {}

    def __len__(self) -> int:
        return sum(run.explanations for run in self.runs)

    def add(
        self,
        explanation: Explanation,
        label: Any = None,
        *,
        prediction: str | None = None,
        record: str | None = None,
        model: str | None = None,
    ) -> None:
        """Count an explanation.

        Args:
            explanation: Of text.
            label: What the answer should have been; several, if more than one is right.
            prediction: What the model answered, where another label is explained.
            record: What the input is called. Default: its number.
            model: What the model is called. Default: what the explanation says.

        Raises InputError for more than MOST_RUNS different models, methods and options.

        """
        run = self._run(explanation, model)
        reading = read(explanation)
        record = record or str(run.explanations + 1)
        run.add(explanation, reading, record)
        gold = None if explanation.task in UNJUDGED else gold_labels(label)
        answer = said(explanation, reading.cases, prediction)
        kept = Kept(
            explanation=explanation,
            record=record,
            identity=reading.identity,
            gold=None if gold is None else " or ".join(gold),
            answer=answer.answer,
            sure=answer.sure,
        )
        right = run.judged.add(answer, gold, kept)
        if len(run.first) <= FEW:
            run.first.append(kept)
        comparable = {
            other.number: other.signed and run.signed
            for other in self.runs
            if other is not run and (other.model == run.model or other.method == run.method)
        }
        for case in reading.cases:
            self.matcher.add(run.number, reading, case, record, comparable)
        if answer.answer is not None or gold is not None:
            self.duels.add(run.model, answer.answer, right, kept)

    def _run(self, explanation: Explanation, model: str | None) -> Run:
        model = explanation.model if model is None else model
        # A contrast, and a baseline's text, are part of each question, not of the way of asking.
        asked = explanation.options.model_copy(
            update={"foil": None if explanation.foil is None else "*", "baseline_text": None}
        )
        key = (model, explanation.method, asked.model_dump_json())
        number = self._numbers.get(key)
        if number is None:
            number = len(self.runs)
            if number == MOST_RUNS:
                raise InputError(
                    f"The explanations are of more than {MOST_RUNS} different models, methods and "
                    "options. Expected fewer: make a report of some of them."
                )
            self._numbers[key] = number
            self.runs.append(Run(number, model, explanation, self.errors))
        return self.runs[number]

    def minimum_of(self, cases: int) -> int:
        """Occurrences from which on a word is ranked, in a class of so many cases."""
        return self.minimum if self.minimum is not None else max(2, cases // 200)

    def to_html(self, path: str | Path | None = None) -> str:
        """One self-contained page, also written to `path`: no scripts, no network."""
        made = page.render(self)
        if path is not None:
            Path(path).write_text(made, encoding="utf-8")
        return made

    @classmethod
    def from_jsonl(
        cls, *paths: str | Path, labels: Mapping[str, Any] | None = None, **options: Any
    ) -> Report:
        """Read files of `lit-plugins explain`, line by line.

        Args:
            *paths: Of one or several runs: methods, or models.
            labels: Gold labels by the records' `id`, or number. Default: the lines' own `label`,
                `labels` or `answers`.
            **options: Of Report.

        Raises DataError, which names file and line, for what is no explanation.

        """
        made = cls(**options)
        for path in map(Path, paths):
            try:
                with path.open(encoding="utf-8") as lines:
                    for number, line in enumerate(lines, 1):
                        if line.strip():
                            made._add_line(line, f"{path}: line {number}", labels)
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(
                    f"{path}: cannot be read ({error}). Expected a file of lit-plugins explain."
                ) from None
        return made

    def _add_line(self, line: str, where: str, labels: Mapping[str, Any] | None) -> None:
        from lit_plugins.attribution import exchange

        try:
            found = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where}: is no JSON ({error}).") from None
        # What lit-plugins explain hands on of the record; to_json alone has none of it.
        about = found.pop("record", None) if isinstance(found, dict) else None
        about = about if isinstance(about, dict) else {}
        explanation = exchange.from_record(found, where)
        name = about.get("id", about.get("number"))
        record = None if name is None else str(name)
        if labels is None:
            given = (about[name] for name in _GOLD if about.get(name) not in (None, "", []))
            label = next(given, None)
        else:
            label = labels.get(record or "")
        self.add(explanation, label, prediction=about.get("prediction"), record=record)


def build(
    explanations: Iterable[Explanation],
    title: str = TITLE,
    labels: Iterable[Any] | None = None,
    **options: Any,
) -> str:
    """A report as one HTML page.

    Args:
        explanations: Of one or several models and methods, in any order.
        title: Of the page.
        labels: Gold labels, one an explanation, None where there is none.
        **options: Of Report.

    Raises InputError if there are more or fewer labels than explanations.

    """
    made = Report(title, **options)
    _add_all(made, explanations, labels, None)
    return made.to_html()


def build_comparison(
    one: Iterable[Explanation],
    other: Iterable[Explanation],
    title: str = "Two models side by side",
    labels: Iterable[Any] | None = None,
    names: tuple[str, str] | None = None,
    **options: Any,
) -> str:
    """A report of two models that explained the same inputs, as one HTML page.

    Args:
        one: Explanations of the first, in any order: the same inputs are found by their content.
        other: Of the second.
        title: Of the page.
        labels: Gold labels, one an explanation of `one`; what holds for an input there holds for
            `other` too, so both must be in the same order if this is given.
        names: What the models are called. Default: what their explanations say.
        **options: Of Report.

    Raises InputError if there are more or fewer labels than explanations of a model.

    """
    made = Report(title, **options)
    first, second = names or (None, None)
    if names is not None and first == second:
        raise InputError(f"Both models are called {first!r:.80}. Expected two names.")
    gold = None if labels is None else list(labels)
    _add_all(made, one, gold, first)
    _add_all(made, other, gold, second)
    if names is None and made.runs and len({run.model for run in made.runs}) < 2:
        raise InputError(
            f"Both models are called {made.runs[0].model!r:.80}. Tell them apart with "
            "names=('before', 'after')."
        )
    return made.to_html()


def _add_all(
    made: Report, explanations: Iterable[Explanation], labels: Iterable[Any] | None, model: Any
) -> None:
    if labels is None:
        for explanation in explanations:
            made.add(explanation, model=model)
        return
    rest = iter(labels)
    nothing = object()
    count = 0
    for count, explanation in enumerate(explanations, 1):
        label = next(rest, nothing)
        if label is nothing:
            raise InputError(
                f"There are {count - 1} labels, and more explanations. Expected one each; None "
                "where there is none."
            )
        made.add(explanation, label, model=model)
    if next(rest, nothing) is not nothing:
        raise InputError(f"There are {count} explanations, and more labels. Expected one each.")
