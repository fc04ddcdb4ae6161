"""`lit-plugins explain`: why a model says what it says of each record of a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lit_plugins.cli import common

if TYPE_CHECKING:
    from lit_plugins.cli.running import Compute, Progress, Result
    from lit_plugins.explaining import ModelExplainer
    from lit_plugins.sources import ModelSpec

_UNITS = ("token", "word", "sentence", "line", "paragraph", "example", "default")


@click.command(
    short_help="Explain what a model says of each record of a file.",
    epilog="Exit codes: 0 done, 2 nothing can be done as asked, 3 done but for bad records, "
    "130 interrupted. More: docs/command-line.md.",
)
@common.run_options
@click.option("--method", help="See lit-plugins methods.", shell_complete=common.complete_methods)
@click.option("--target", help="Label, answer or completion to explain. Default: the model's own.")
@click.option("--target-column", help="Column that holds each record's target.")
@click.option("--span", help="Part of it: a tagged word, start or end, text of a completion.")
@click.option("--contrast", help="What could have stood in the target's place: why not that?")
@click.option(
    "--unit",
    type=click.Choice(_UNITS),
    default="word",
    show_default=True,
    help="What gets a score; default: the method's own.",
)
@click.option("--output", help="What is explained: logprob, logit or prob.")
@click.option("--baseline", help="What stands for nothing: zero, pad, mask, unk or mean.")
@click.option("--steps", help="Points on the path of integrated_gradients, or auto.")
@click.option("--each", is_flag=True, help="Each token or label of the target by itself.")
@click.option(
    "--option",
    "more",
    multiple=True,
    metavar="KEY=VALUE",
    callback=common.pairs,
    help="Any other option of the method; repeatable.",
)
def command(
    model: str,
    input_: str | None,
    out: Path | None,
    id_column: str,
    limit: int | None,
    force: bool,
    restart: bool,
    quiet: bool,
    method: str | None,
    target: str | None,
    target_column: str | None,
    span: str | None,
    contrast: str | None,
    unit: str,
    output: str | None,
    baseline: str | None,
    steps: str | None,
    each: bool,
    more: Mapping[str, Any],
) -> int:
    """Explain what MODEL says of each record of INPUT.

    MODEL is FRAMEWORK:SOURCE?options, such as hf:packaged:sentiment. INPUT is a .jsonl, .csv, .tsv,
    .txt or .parquet file, a sample set such as movie_reviews, or - for lines of JSON on standard
    input; its columns are named as the model's fields, or renamed:
    'reviews.csv?columns=review:text'.

    Given again, an interrupted command goes on where it was.
    """
    from lit_plugins.attribution import methods
    from lit_plugins.cli import reading, running
    from lit_plugins.errors import SpecError

    if target is not None and target_column is not None:
        raise SpecError("--target and --target-column exclude each other. Give one of them.")
    if output is not None and Path(output).suffix:
        raise SpecError(f"--output={output}: the file is given with -o. --output is what of the "
                        "model's output is explained: logprob, logit or prob.")  # fmt: skip
    named = {
        "output": output,
        "baseline": baseline,
        "steps": int(steps) if steps and steps.isdigit() else steps,
        "each": each or None,
    }
    named = {key: value for key, value in named.items() if value is not None}
    if twice := sorted(named.keys() & more.keys()):
        raise SpecError(f"--{twice[0]} and --option={twice[0]}=… are one option. Drop one.")
    spec = common.parse(model)
    if method is not None:
        methods.find(method)
    asked = {
        "method": method,
        "target": target,
        "span": span,
        "contrast": contrast,
        "unit": None if unit == "default" else unit,
        **named,
        **more,
    }
    source = reading.source_of(
        input_, common.task_of(spec), target_column=target_column, id_column=id_column, limit=limit
    )
    return running.Run(
        doing="Explaining",
        spec=spec,
        source=source,
        out=out,
        prepare=_preparing(spec, asked),
        options={"command": "explain", **asked},
        title=f"{spec.source.rpartition(':')[2]}: {source.name}",
        force=force,
        restart=restart,
        quiet=quiet,
    ).go()


def _preparing(
    spec: ModelSpec, asked: Mapping[str, Any]
) -> Callable[[Sequence[Mapping[str, Any]]], Compute]:
    """What loads the model, and refuses what can be explained of no record."""

    def prepare(examples: Sequence[Mapping[str, Any]]) -> Compute:
        import lit_plugins
        from lit_plugins.attribution import exchange

        explainer = lit_plugins.load(spec)
        _check(explainer, examples, asked)

        def compute(examples: Sequence[Mapping[str, Any]], progress: Progress) -> list[Result]:
            _forget(explainer)
            made = explainer.explain_all(examples, progress=progress, **asked)
            return [_without_time(exchange.record(one)) for one in made]

        return compute

    return prepare


def _check(
    explainer: ModelExplainer, examples: Sequence[Mapping[str, Any]], asked: Mapping[str, Any]
) -> None:
    """Raise InputError for what is wrong with method and options, whatever the record.

    Also if the first record alone would take longer than the model's limit. From then on there is
    none: it depends on how busy the machine is, and what a run makes must not.
    """
    from lit_plugins.attribution.cost import in_words
    from lit_plugins.errors import InputError

    explainer.check(**{key: asked[key] for key in asked.keys() - {"target", "span"}})
    engine = explainer.engine
    for example in examples:
        try:
            cost = explainer.estimate(example, **asked)
        except InputError:
            continue  # is found out, and said, in its turn
        if cost.seconds > engine.limit_seconds:
            raise InputError(
                f"The first record alone would take {cost}; the limit is "
                f"{in_words(engine.limit_seconds)}. Choose a cheaper method or fewer steps or "
                "samples, or raise the model's option max_explanation_seconds."
            )
        break
    engine.limit_seconds = math.inf


def _forget(explainer: ModelExplainer) -> None:
    """Have nothing depend on what was computed before."""
    explainer.engine.forget()


def _without_time(record: dict[str, Any]) -> dict[str, Any]:
    del record["seconds"]  # the one thing in it that differs from run to run
    return record
