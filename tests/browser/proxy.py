"""A reverse proxy as teams put in front of a server: a path prefix, and headers of its own."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# Of one connection, so not handed on.
_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


class Proxy:
    """Where the page is, and what was asked for outside of the prefix."""

    def __init__(self, url: str):
        self.url = url
        self.outside: list[str] = []


@contextlib.contextmanager
def proxied(url: str, prefix: str, headers: Mapping[str, str] | None = None) -> Iterator[Proxy]:
    """Serve what is at `url` below `prefix`, as `/some/prefix`; `headers` replace the server's."""
    target = urlsplit(url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not self.path.startswith(prefix + "/"):
                proxy.outside.append(self.path)
                self._answer(404, {}, b"Nothing here.")
                return
            sent = {name: value for name, value in self.headers.items() if name != "Connection"}
            back = http.client.HTTPConnection(target.hostname or "", target.port, timeout=600)
            try:
                back.request(self.command, self.path.removeprefix(prefix), body, sent)
                response = back.getresponse()
                got = {
                    name: value for name, value in response.getheaders() if name.lower() not in _HOP
                }
                self._answer(response.status, got | dict(headers or {}), response.read())
            finally:
                back.close()

        do_POST = do_GET

        def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            # A page that is left drops its connections.
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy = Proxy(f"http://127.0.0.1:{server.server_port}{prefix}/")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
