"""A real server in a process of its own, and a browser that may talk to nobody else."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
from playwright import sync_api

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "test-output"
# Milliseconds, where a test names none. The machine may be busy.
sync_api.expect.set_options(timeout=30_000)


class Server:
    """A running server: where its page is, and what it has written."""

    def __init__(self, process: subprocess.Popen, log: Path):
        self.process = process
        self._log = log
        self.url = self._wait_for_address()

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def _wait_for_address(self) -> str:
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            if found := re.search(r"http://127\.0\.0\.1:\d+", self.log):
                return found[0] + "/"
            time.sleep(0.1)
        raise AssertionError(f"The server does not listen:\n{self.log}")


@contextlib.contextmanager
def running(name: str, *arguments: str) -> Iterator[Server]:
    """`launch.py` with these arguments; stopped with Ctrl-C, which must be a clean exit."""
    OUTPUT.mkdir(exist_ok=True)
    log = OUTPUT / f"server-{name}.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "launch.py", "--port=0", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            # A test run that is itself in the background ignores Ctrl-C, and would pass that on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    try:
        server = Server(process, log)
        yield server
        assert process.poll() is None, f"The server has died:\n{server.log}"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, server.log
        assert server.log.rstrip().endswith("Stopped."), server.log
        assert "Traceback" not in server.log, server.log
    finally:
        process.kill()
        process.wait()


# Not for the whole session: a server holds gigabytes, and Playwright's event loop would be in the
# way of tests that bring their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    path = next((path for path in chromium.PATHS if Path(path).exists()), None)
    assert path, "No Chromium: run tests/install_chromium.sh"
    with (
        sync_api.sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=path, args=list(chromium.FLAGS)) as browser,
    ):
        yield browser


@pytest.fixture
def page(browser) -> Iterator[sync_api.Page]:
    """A page that can reach 127.0.0.1 only, asks for nothing else, and whose scripts do not fail.

    `page.lit_errors` are the errors that no script has caught; a test that expects some clears it.
    """
    outside: list[str] = []
    errors: list[str] = []

    def route(route: sync_api.Route) -> None:
        if re.match(r"http://127\.0\.0\.1[:/]|data:|blob:", route.request.url):
            route.continue_()
            return
        outside.append(route.request.url)
        route.abort()

    with browser.new_context(viewport={"width": 1400, "height": 900}) as context:
        context.set_default_timeout(30_000)
        context.route("**/*", route)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(error.message))
        page.lit_errors = errors
        yield page
        context.unroute_all(behavior="ignoreErrors")
    assert outside == [], "everything that the page needs is here"
    assert errors == []


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Keep a picture of the page, and show the end of the server's log, when a test fails."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for name, value in getattr(item, "funcargs", {}).items():
        if isinstance(value, Server):
            report.sections.append((f"log of the server {name!r}", value.log[-6000:]))
        elif isinstance(value, sync_api.Page) and not value.is_closed():
            with contextlib.suppress(sync_api.Error):
                value.screenshot(path=OUTPUT / "screenshots" / f"failed-{item.name}.png")
