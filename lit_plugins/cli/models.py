"""`lit-plugins models`: which models there are, and how others are named."""

from __future__ import annotations

import json

import click

from lit_plugins.cli import tables

_OTHERS = """
Name them as hf:packaged:NAME, a language model for Keras as keras:packaged:NAME. Others:
  hf:ORG/NAME          of the Hugging Face hub: language models, classifiers of texts and pairs,
                       taggers, question answerers; zero-shot: hf:ORG/NAME?task=zero-shot
  hf:./FOLDER          what save_pretrained wrote
  hf:FILE.gguf         a quantised language model
  keras:PRESET         of keras-hub, or keras:./FOLDER
Options follow a question mark: hf:gpt2?dtype=bfloat16&device=cuda. More: docs/models.md.
"""


@click.command(short_help="List packaged models, and say how to name others.")
@click.option("--json", "as_json", is_flag=True, help="The table as JSON.")
def command(as_json: bool) -> int:
    """List the models that need no account, and say how to name others."""
    from lit_plugins.packaged import PACKAGED

    found = []
    for row in PACKAGED.values():
        task = "text-generation" if row.config is None else row.config.get("task")
        archives = [*row.archives, *(PACKAGED[row.base].archives if row.base else ())]
        found.append(
            {
                "name": row.name,
                "task": task,
                "download": sum(archive.size for archive in archives),
                "licence": row.licence,
                "about": row.about,
            }
        )
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    rows = [
        (one["name"], one["task"] or "-", _size(one["download"]), one["licence"], one["about"])
        for one in found
    ]
    click.echo(tables.table(("name", "task", "download", "licence", "what it is"), rows))
    click.echo(_OTHERS.rstrip("\n"))
    return 0


def _size(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count else "none"
