"""`lit-plugins report`: what a model looks at over a whole set, as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command(short_help="Make one page of all explanations of a set.")
@click.argument("explanations", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The page.")
@click.option("--title", help="Of the page.")
@click.option("--minimum", type=click.IntRange(1), help="Occurrences from which a word is ranked.")
@click.option("--errors", type=click.IntRange(0), help="Wrong answers shown of each model.")
@click.option("--beeswarms/--no-beeswarms", default=True, help="Draw them, which needs shap.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
def command(
    explanations: tuple[Path, ...], out: Path, force: bool, beeswarms: bool, **more: Any
) -> int:
    """Make a page of EXPLANATIONS, the .jsonl files that lit-plugins explain wrote.

    Several files, of other models or methods, are shown side by side.
    """
    from lit_plugins import plugins
    from lit_plugins.cli import writing
    from lit_plugins.report import Report

    plugins.load()
    with writing.replacing(out, force) as made:
        options = {key: value for key, value in more.items() if value is not None}
        report = Report.from_jsonl(*explanations, beeswarms=beeswarms, **options)
        report.to_html(made)
    click.echo(f"{len(report):,} explanations in {out}.", err=True)
    return 0
