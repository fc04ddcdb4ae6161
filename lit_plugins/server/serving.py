"""Threaded servers for LIT: one for the command line, one for notebooks.

`register` adds ours to LIT's table of server types; LIT's own serve one request at a time,
so a single idle connection stops them.
"""

from __future__ import annotations

import contextlib
import errno
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import waitress.server
from lit_nlp import app as lit_app
from lit_nlp import dev_server
from waitress import wasyncore

from lit_plugins.errors import ConfigError
from lit_plugins.server import guard, jobs

SERVER_TYPE = "lit_plugins"

# More than compute or wait for a job: the page and its status never wait for a prediction.
_THREADS = guard.WORKING_LIMIT + jobs.MOST_WAITING + 8
_CONNECTIONS = 1000  # idle ones cost next to nothing, and are closed after two minutes


def register() -> None:
    """Make `--server_type=lit_plugins` known to LIT."""
    dev_server.WSGI_SERVERS[SERVER_TYPE] = ThreadedServer


class _Waitress:
    """Waitress on its own thread: requests in any number, each in a thread when complete.

    Slow clients are read asynchronously and cost no thread, and a slow answer has no limit.
    """

    def __init__(self, app, host: str, port: int) -> None:
        listening = _listen(host, port)
        self.port: int = listening.getsockname()[1]
        self._map: dict = {}
        self._server: Any = waitress.server.create_server(
            app,
            map=self._map,
            sockets=[listening],
            threads=_THREADS,
            connection_limit=_CONNECTIONS,
            asyncore_use_poll=hasattr(select, "poll"),  # select() ends at 1024 sockets
            max_request_body_size=guard.BODY_LIMIT + 1,
            ident=None,  # no server name in the headers
        )
        self._thread = threading.Thread(target=self._server.run, name="lit_plugins-server")
        self._thread.daemon = True
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop listening, close all connections, and let idle threads end."""
        server, trigger = self._server, self._server.trigger

        def close_sockets() -> None:
            # Not server.close(), which closes the trigger with it.
            wasyncore.dispatcher.close(server)
            for channel in list(server.active_channels.values()):
                channel.handle_close()
            self._map.clear()  # which ends the loop

        # In the thread that owns the sockets: it would stumble over them otherwise.
        trigger.pull_trigger(close_sockets)
        self._thread.join(2)
        # Not before: what came in between would wait for a thread for ever, with a warning.
        server.task_dispatcher.set_thread_count(0)
        # A thread that still computes will write to the trigger when it is done: until then,
        # its file number must not become another file's.
        threading.Thread(target=self._close_trigger, daemon=True).start()

    def _close_trigger(self) -> None:
        while self._server.task_dispatcher.threads:
            time.sleep(0.02)
        self._server.trigger.close()


class ThreadedServer:
    """The server of the command line; `serve` returns when it is told to stop.

    Args:
        wsgi_app: LIT's app; `guard.Guard` is put before it.
        port: 0 takes a free one.
        host: The address to listen on.
        status: As for `guard.Guard`.
        on_listen: Called once requests are accepted.

    Raises:
        ConfigError: The address cannot be listened on (from `serve`).

    """

    def __init__(
        self,
        wsgi_app: lit_app.LitApp,
        port: int = 5432,
        host: str = "127.0.0.1",
        status: Callable[[], Mapping[str, Any]] = dict,
        on_listen: Callable[[], object] = lambda: None,
        **unused,
    ) -> None:
        self._app = guard.Guard(wsgi_app, status)
        self._port = port
        self._host = host
        self._on_listen = on_listen

    def serve(self) -> None:
        """Serve until Ctrl-C or SIGTERM."""
        server = _Waitress(self._app, self._host, self._port)
        previous = None
        if threading.current_thread() is threading.main_thread():
            previous = signal.signal(signal.SIGTERM, _interrupt)
        try:
            shown = self._host if self._host not in ("", "0.0.0.0", "::") else "localhost"
            shown = f"[{shown}]" if ":" in shown else shown
            print(f"Serving LIT at http://{shown}:{server.port}  (Ctrl-C stops it)", flush=True)
            self._on_listen()
            while server.is_alive():
                # Not join() or Event.wait(): on Windows those do not notice Ctrl-C.
                time.sleep(0.2)
        except KeyboardInterrupt:
            with contextlib.suppress(OSError):  # whoever read our output may be gone
                print("Stopped.", file=sys.stderr)
        finally:
            server.close()
            self._app.close()
            if previous is not None:
                signal.signal(signal.SIGTERM, previous)


class NotebookServer:
    """The server of a notebook: `serve` returns at once. LIT's `NotebookWsgiServer`, threaded.

    Args:
        wsgi_app: LIT's app; `guard.Guard` is put before it.
        host: The address to listen on.
        port: None takes a free one.
        status: As for `guard.Guard`.

    """

    can_act_as_model_server = False

    def __init__(
        self,
        wsgi_app: lit_app.LitApp,
        host: str = "localhost",
        port: int | None = None,
        status: Callable[[], Mapping[str, Any]] = dict,
        **unused,
    ) -> None:
        self._app = wsgi_app
        # Colab and Jupyter show the page through a proxy of another name.
        self._guard = guard.Guard(wsgi_app, status, allow_cross_origin=True)
        self._host = host
        self._wanted_port = port
        self._server: _Waitress | None = None

    @property
    def app(self) -> lit_app.LitApp:
        """LIT's app, whose `ui_state_tracker` follows the page."""
        return self._app

    @property
    def port(self) -> int:
        """The port in use.

        Raises:
            RuntimeError: The server has not been started.

        """
        if self._server is None:
            raise RuntimeError("The server has not been started; call serve() first.")
        return self._server.port

    def serve(self) -> None:
        """Start serving in the background; do nothing if already started."""
        if self._server is None:
            self._server = _Waitress(self._guard, self._host, self._wanted_port or 0)

    def stop(self) -> None:
        """Stop serving; do nothing if not started."""
        if self._server is not None:
            self._server.close()
            self._guard.close()
            self._server = None


def _interrupt(signum, frame) -> None:
    raise KeyboardInterrupt


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            message = f"Port {port} of {host} is in use. Choose another, for example --port=0."
        elif isinstance(error, OSError) and error.errno == errno.EACCES:
            message = f"Port {port} needs special rights. Choose one from 1024 on with --port."
        else:
            message = f"Cannot listen on {host!r}, port {port} ({error}). See --host and --port."
        raise ConfigError(message) from error
