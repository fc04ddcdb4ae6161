"""`lit-plugins predict`: what a model says of each record of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lit_plugins.cli import common

if TYPE_CHECKING:
    from lit_plugins.cli.running import Compute, Progress, Result
    from lit_plugins.sources import ModelSpec


@click.command(
    short_help="Say what a model says of each record of a file.",
    epilog="Exit codes: as of lit-plugins explain.",
)
@common.run_options
def command(
    model: str,
    input_: str | None,
    out: Path | None,
    id_column: str,
    limit: int | None,
    force: bool,
    restart: bool,
    quiet: bool,
) -> int:
    """Say what MODEL says of each record of INPUT: labels, tags, answers or completions.

    MODEL and INPUT are as for lit-plugins explain. Results go to .jsonl or .parquet.
    """
    from lit_plugins.cli import reading, running
    from lit_plugins.errors import SpecError

    if out is not None and out.suffix.lower() == ".html":
        raise SpecError(f"{out}: predictions have no page. Expected .jsonl or .parquet.")
    spec = common.parse(model)
    return running.Run(
        doing="Predicting",
        spec=spec,
        source=reading.source_of(input_, common.task_of(spec), id_column=id_column, limit=limit),
        out=out,
        prepare=_preparing(spec),
        options={"command": "predict"},
        force=force,
        restart=restart,
        quiet=quiet,
    ).go()


def _preparing(spec: ModelSpec) -> Callable[[Sequence[Mapping[str, Any]]], Compute]:
    def prepare(examples: Sequence[Mapping[str, Any]]) -> Compute:
        import lit_plugins

        explainer = lit_plugins.load(spec)

        def compute(examples: Sequence[Mapping[str, Any]], progress: Progress) -> Sequence[Result]:
            return explainer.predict(examples)

        return compute

    return prepare
