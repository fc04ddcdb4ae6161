"""A plugin with one of each: a method, a task, a file format, a layout, a sample set."""

from pathlib import Path

from lit_plugins.plugins import Additions

HERE = Path(__file__).parent


def register(add: Additions) -> None:
    """What lit_plugins calls, once a process."""
    from example_plugin import formats, methods, models

    add.method(methods.MIDPOINT)
    add.kind(models.INTENT)
    add.record_task(models.UTTERANCES)
    add.reader(".ini", formats.read_ini)
    add.layout_folder(HERE / "layouts")
    add.dataset_folder(HERE / "datasets")
