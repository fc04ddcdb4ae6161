"""`lit-plugins serve` and `lit-plugins check`: launch.py by other names."""

from __future__ import annotations

from typing import NoReturn

import click

# All of it is the server's, whose own flags these are.
_SETTINGS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def _command(name: str, first: tuple[str, ...], short: str) -> click.Command:
    @click.command(
        name, context_settings=_SETTINGS, add_help_option=False, short_help=short, help=short
    )
    @click.argument("flags", nargs=-1, type=click.UNPROCESSED)
    def command(flags: tuple[str, ...]) -> NoReturn:
        from lit_plugins.server import main

        main.run([*first, *flags])

    return command


serve = _command("serve", (), "Serve models and data in LIT; the same as launch.py.")
check = _command("check", ("--check",), "Try everything that serve would serve, and print a table.")
