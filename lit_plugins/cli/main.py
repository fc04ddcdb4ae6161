"""`lit-plugins COMMAND`: also `python -m lit_plugins`."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from lit_plugins import __version__
from lit_plugins.errors import LitPluginsError

NAME = "lit-plugins"

# In the order of their help, each with the module that holds it, imported when it is asked for.
COMMANDS = {
    "explain": "explain:command",
    "predict": "predict:command",
    "report": "report:command",
    "serve": "serve:serve",
    "check": "serve:check",
    "fetch": "fetch:command",
    "models": "models:command",
    "methods": "methods:command",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(importlib.import_module(f"lit_plugins.cli.{module}"), name)
        found.name = cmd_name
        return found


@click.group(
    NAME,
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each has --help. Docs: docs/command-line.md.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def commands() -> None:
    """Why did the model say that? Explanations of language models, classifiers, taggers and
    question answerers: as files, as a report, or in LIT's page.

    \b
      lit-plugins explain hf:packaged:sentiment movie_reviews -o why.jsonl
      lit-plugins report why.jsonl -o why.html
      lit-plugins serve --models=sentiment=hf:packaged:sentiment
    """  # noqa: D205, D301


def run() -> NoReturn:
    """Run `main` as a program: end the process with its exit code."""
    code = main()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say (default: those of the process).

    Returns:
        The exit code: 0; 2 for errors in what is asked or given, with one line on stderr; 3 if
        some records were bad; 130 for Ctrl-C.

    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        found = commands.main(given or ["--help"], prog_name=NAME, standalone_mode=False)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        return _fail(error.format_message(), _hint(error, given))
    except LitPluginsError as error:
        return _fail(str(error))
    except (KeyboardInterrupt, click.Abort):
        print("Stopped.", file=sys.stderr)
        return 130
    return found if isinstance(found, int) else 0


def _fail(message: str, hint: str = "") -> int:
    print(f"error: {' '.join(message.split())}{hint}", file=sys.stderr)
    return 2


def _hint(error: Any, given: Sequence[str]) -> str:
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption) and context and context.info_name == NAME:
        return f" Flags of the server follow serve: {NAME} serve {given[0]}"
    return f" See {context.command_path} --help." if context else ""
