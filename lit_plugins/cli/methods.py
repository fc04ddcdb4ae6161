"""`lit-plugins methods`: what can be asked, and with which options."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import click

from lit_plugins.cli import common, tables


@click.command(short_help="List the methods, or say all about one.")
@click.argument("name", required=False, shell_complete=common.complete_methods)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def command(name: str | None, as_json: bool) -> int:
    """List the methods, or say what NAME answers and which options it takes."""
    from lit_plugins import plugins
    from lit_plugins.attribution import methods

    plugins.load()
    rows = [methods.find(name)] if name else list(methods.METHODS.values())
    if as_json:
        found = [_plain(row) for row in rows]
        click.echo(json.dumps(found[0] if name else found, indent=2, ensure_ascii=False))
    elif name:
        click.echo(_about(rows[0]))
    else:
        head = ("name", "sign", "adds up", "what it is")
        cells = [(row.name, "yes" if row.signed else "no", "yes" if row.additive else "no",
                  row.title) for row in rows]  # fmt: skip
        click.echo(tables.table(head, cells))
        click.echo("\nlit-plugins methods NAME says more.")
    return 0


def _plain(row: Any) -> dict[str, Any]:
    return {
        "name": row.name,
        "title": row.title,
        "signed": row.signed,
        "additive": row.additive,
        "units": row.units.format("nats"),
        "description": row.description,
        "options": {**dict.fromkeys(_common()), **row.defaults},
    }


def _common() -> list[str]:
    from lit_plugins.attribution.options import COMMON, Options

    return [name for name in Options.model_fields if name in COMMON]


def _about(row: Any) -> str:
    """A method in words, and a table of its options."""
    notes = _notes()
    units = row.units.format("what is explained (nats for logprob)")
    text = [
        f"{row.name}: {row.title}",
        "",
        *textwrap.wrap(row.description, 96),
        "",
        f"Scores are {'signed' if row.signed else 'unsigned'}, in {units}"
        + ("; they sum to what the input changes." if row.additive else "."),
    ]
    options = [(name, _shown(value), notes.get(name, "")) for name, value in row.defaults.items()]
    common = [(name, "", notes.get(name, "")) for name in _common()]
    if options:
        text += ["", tables.table(("option", "default", ""), options)]
    text += ["", tables.table(("of all", "", ""), common)]
    return "\n".join(text)


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)


def _notes() -> dict[str, str]:
    """What each option is, in its first sentence: the text below its field."""
    from lit_plugins.attribution.options import Options

    found = Options.model_json_schema()["properties"]
    texts = {name: " ".join(one.get("description", "").split()) for name, one in found.items()}
    return {name: text.replace("`", "").split(". ")[0].rstrip(".") for name, text in texts.items()}
