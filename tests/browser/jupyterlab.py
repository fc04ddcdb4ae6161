"""A real JupyterLab that asks nobody else for anything, and LIT's page in a notebook of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
from playwright.sync_api import Frame, Page, expect

from .conftest import OUTPUT, ROOT

STARTING = 120  # seconds
CELL = 240_000  # milliseconds: a cell imports torch and loads a model


class JupyterLab:
    """A running JupyterLab: its address, and the folder of its notebooks."""

    def __init__(self, url: str, folder: Path):
        self.url = url
        self._folder = folder

    def open(self, page: Page, name: str, *cells: str) -> None:
        """Write a notebook of these cells, and open it with its kernel started."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, self._folder / f"{name}.ipynb")
        page.goto(f"{self.url}lab/tree/{name}.ipynb?reset")
        idle = page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")
        expect(idle).to_be_visible(timeout=CELL)


def run_cell(page: Page, number: int) -> None:
    """Run one cell of the open notebook, and wait for its end."""
    cell = page.locator(".jp-NotebookPanel .jp-CodeCell").nth(number)
    prompt = cell.locator(".jp-InputArea-prompt")
    # While a kernel starts, JupyterLab may say that it is idle, and drop what it is asked to run.
    for _ in range(20):
        prompt.click()
        page.get_by_role("button", name=re.compile("^Run this cell")).click()
        with contextlib.suppress(AssertionError):
            expect(prompt).not_to_have_text(re.compile(r"\[\s*\]"), timeout=5000)
            break
    expect(prompt).to_have_text(f"[{number + 1}]:", timeout=CELL)


def lit_frame(page: Page, number: int) -> Frame:
    """Return LIT's page in a cell's output, once it shows its modules."""
    cell = page.locator(".jp-NotebookPanel .jp-CodeCell").nth(number)
    shown = cell.locator("iframe")
    expect(shown).to_be_visible(timeout=CELL)
    shown.scroll_into_view_if_needed()
    handle = shown.element_handle()
    frame = handle and handle.content_frame()
    assert frame, "the output has no page"
    expect(frame.locator("lit-modules lit-widget").first).to_be_visible(timeout=CELL)
    return frame


@contextlib.contextmanager
def running_jupyterlab(folder: Path) -> Iterator[JupyterLab]:
    """JupyterLab on 127.0.0.1, with configuration and notebooks in this empty folder."""
    notebooks = folder / "notebooks"
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    for made in (notebooks, settings):
        made.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet), "utf-8")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    OUTPUT.mkdir(exist_ok=True)
    log = OUTPUT / "server-jupyterlab.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                *("--ip=127.0.0.1", "--port=0", "--IdentityProvider.token="),
                f"--ServerApp.root_dir={notebooks}",
                "--LabApp.extension_manager=readonly",
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                "--LabApp.news_url=",
            ],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        yield JupyterLab(_wait_for_address(process, folder / "runtime", log), notebooks)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_address(process: subprocess.Popen, runtime: Path, log: Path) -> str:
    end = time.monotonic() + STARTING
    while time.monotonic() < end and process.poll() is None:
        for path in runtime.glob("jpserver-*.json"):
            with contextlib.suppress(OSError, ValueError):
                url = json.loads(path.read_text("utf-8"))["url"]
                urllib.request.urlopen(f"{url}api", timeout=5).close()
                return url
        time.sleep(0.2)
    raise AssertionError(f"JupyterLab does not listen:\n{log.read_text('utf-8', 'replace')}")
