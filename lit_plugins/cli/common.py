"""What commands share: arguments, options, and how a model is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from lit_plugins.sources import ModelSpec

F = TypeVar("F", bound=Callable[..., Any])


def complete_models(
    context: click.Context, parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """Specs of packaged models, for the shell."""
    from lit_plugins.packaged import PACKAGED

    rows = [row for row in PACKAGED.values() if row.config is None or "task" in row.config]
    specs = [CompletionItem(f"hf:packaged:{row.name}", help=row.about) for row in rows]
    return [item for item in specs if item.value.startswith(begun)]


def complete_methods(
    context: click.Context, parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """Names of methods, for the shell."""
    from lit_plugins import plugins
    from lit_plugins.attribution.methods import METHODS

    plugins.load()
    items = [CompletionItem(row.name, help=row.title) for row in METHODS.values()]
    return [item for item in items if item.value.startswith(begun)]


def _complete_inputs(
    context: click.Context, parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    return [CompletionItem(begun, type="file")]


model_argument = click.argument("model", shell_complete=complete_models)


def run_options(function: F) -> F:
    """The arguments and options of commands that put records through a model."""
    for option in reversed(
        (
            model_argument,
            click.argument(
                "input_", metavar="[INPUT]", required=False, shell_complete=_complete_inputs
            ),
            click.option(
                "-o",
                "--out",
                type=click.Path(dir_okay=False, path_type=Path),
                help="Where results go; the suffix says how: .jsonl, .parquet, .html. Without it, "
                "lines of JSON go to standard output.",
            ),
            click.option(
                "--id-column", default="id", show_default=True, help="Column handed on as id."
            ),
            click.option("--limit", type=click.IntRange(1), help="Read so many records at most."),
            click.option("--force", is_flag=True, help="Replace OUT if it exists."),
            click.option(
                "--restart", is_flag=True, help="Forget what an interrupted run has done."
            ),
            click.option("-q", "--quiet", is_flag=True, help="No progress and no summary."),
        )
    ):
        function = option(function)
    return function


def parse(model: str) -> ModelSpec:
    """The model that an argument names: FRAMEWORK:SOURCE?options. Raises SpecError."""
    from lit_plugins import plugins, sources

    plugins.load()
    return sources.parse_unnamed(model)


def task_of(spec: ModelSpec) -> str:
    """What the model does. Raises LitPluginsError if it cannot be found or run here."""
    from lit_plugins import sources
    from lit_plugins.components import language_models
    from lit_plugins.models import kinds

    sources.check(spec)
    language_models.require(spec.framework)
    return kinds.profile_of(spec).task


def pairs(context: click.Context, parameter: click.Parameter, given: Sequence[str]) -> Any:
    """Parse KEY=VALUE of a repeatable option; numbers and truth values as such."""
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not (equals and key):
            raise click.BadParameter(f"{text!r} should be KEY=VALUE.", context, parameter)
        if key in found:
            raise click.BadParameter(f"{key!r} is given twice. Drop one.", context, parameter)
        found[key] = _value(value)
    return found


def _value(text: str) -> Any:
    known: Mapping[str, Any] = {"true": True, "false": False}
    if text.lower() in known:
        return known[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
