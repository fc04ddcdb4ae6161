"""What stands between the network and LIT's app.

LIT trusts its clients: it writes where they say, shows them tracebacks and passes whatever
they send on to models. `Guard` is a WSGI app that takes LIT's place. It checks a request
against what the app has registered, calls LIT's own function for it, and answers errors
as one line of plain text.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import math
import mimetypes
import re
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lit_nlp import app as lit_app
from lit_nlp.api import types as lit_types
from lit_nlp.lib import caching, serialize, utils
from werkzeug.wrappers import Request, Response

from lit_plugins import layouts
from lit_plugins.datasets import is_encodable
from lit_plugins.errors import LitPluginsError
from lit_plugins.server import explanations, jobs, lit_client

CLIENT_FOLDER = Path(__file__).parent.parent / "client"
BODY_LIMIT = 64 * 2**20  # bytes; LIT's own requests hold text, and thumbnails at most
WORKING_LIMIT = 40  # requests that compute at the same time

_log = logging.getLogger(__name__)

# The parameters of each of LIT's endpoints, required ones marked. Everything else that a
# client puts into the address is dropped: LIT would pass it on to the models.
_ENDPOINTS = {
    "/get_info": "",
    "/get_dataset": "dataset_name!",
    "/create_dataset": "dataset_name!",
    "/create_model": "model_name!",
    "/get_generated": "model! dataset_name! generator!",
    "/annotate_new_data": "dataset_name!",
    "/post_new_data": "dataset_name!",
    "/fetch_new_data": "saved_datapoints_id!",
    "/remove_new_data": "saved_datapoints_id!",
    "/push_ui_state": "dataset_name!",
    "/get_preds": "model! dataset_name requested_types requested_fields",
    "/get_interpretations": "model! dataset_name! interpreter! do_predict",
    "/get_metrics": "model! dataset_name! metrics do_predict",
}
_FORBIDDEN = ("/save_datapoints", "/load_datapoints")
_WITHOUT_BODY = ("/get_info", "/get_dataset", "/fetch_new_data", "/remove_new_data")
_WITH_INPUTS = (
    "/get_generated",
    "/annotate_new_data",
    "/post_new_data",
    "/push_ui_state",
    "/get_preds",
    "/get_interpretations",
    "/get_metrics",
)
_CREATE = ("/create_model", "/create_dataset")

# LIT's client puts names into addresses unescaped, and hides a model with a leading '_'.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

# The system's table may be incomplete, and with 'nosniff' a wrong type stops a script.
_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}

_CLIENT_SCRIPT = b'<script type="module" src="lit_plugins/client/main.js"></script>\n'
_STAND_INS = (
    '<script src="lit_plugins/client/stand_ins.js" data-elements="'
    + " ".join(module.element for module in layouts.OUR_MODULES.values())
    + '"></script>\n'
).encode()
_CLIENT_STYLE = (
    b'<link href="lit_plugins/client/fonts.css" rel="stylesheet">\n'
    b'<link href="lit_plugins/page.css" rel="stylesheet">\n'
)
# LIT's page gets its fonts and icons from elsewhere; offline, icons would be overlapping words.
_FOREIGN_STYLE = re.compile(rb'[ \t]*<link [^>]*href="https?://[^>]*rel="stylesheet"[^>]*>\n?')
# The page's own rules, which a policy that forbids inline style would drop: they become a file.
_INLINE_STYLE = re.compile(rb"[ \t]*<style>(.*?)</style>\n?", re.DOTALL)

# Nothing from elsewhere, no inline script, no inline style sheet. LIT's plots (regl) compile code,
# which without 'unsafe-eval' would leave out two of its modules: see client/lit/without_eval.js.
# Its templates have style attributes; thumbnails are data:, pictures to be saved blob:.
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self'",
        "style-src-attr 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
)


class _Refused(Exception):
    """A request that is answered with a status and one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _bad(message: str) -> _Refused:
    return _Refused(400, message)


class Guard:
    """A WSGI app that serves a LitApp to clients nobody knows.

    Args:
        app: LIT's app. Its components are used, its own WSGI interface is not.
        status: Returns, for each model that loads lazily, its `Loadable.status()`.
        allow_cross_origin: Whether pages of other origins may send requests that compute.
            Notebooks reach their server through proxies, where it cannot be told.

    """

    def __init__(
        self,
        app: lit_app.LitApp,
        status: Callable[[], Mapping[str, Any]] = dict,
        *,
        allow_cross_origin: bool = False,
    ) -> None:
        self._app = app
        self._status = status
        self._allow_cross_origin = allow_cross_origin
        self._root = Path(app._wsgi_app._project_root).resolve()
        self._with_our_client = lit_client.is_known(self._root)
        self._create_lock = threading.Lock()
        self._explanations = explanations.Explanations(app)
        self._working = threading.BoundedSemaphore(WORKING_LIMIT)
        # LIT's handlers wrap the functions that do the work: dict, **parameters -> object.
        self._functions = {
            path: inspect.unwrap(handler) for path, handler in app._wsgi_app._handlers.items()
        }

    def __call__(self, environ, start_response):
        """Answer one request (WSGI)."""
        request = Request(environ)
        try:
            response = self._respond(request)
        except _Refused as refusal:
            response = _plain(refusal.status, str(refusal))
        except LitPluginsError as error:
            response = _plain(400, str(error))
        except RecursionError:
            response = _plain(400, "The request is nested too deeply.")
        except Exception:
            reference = secrets.token_hex(3)
            _log.exception("Internal error (reference %s) at %r", reference, request.path)
            response = _plain(500, f"Internal error (reference {reference}); see the server's log.")
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response(environ, start_response)

    def close(self) -> None:
        """Stop what still computes for clients that nobody answers any more."""
        self._explanations.jobs.stop()

    def _respond(self, request: Request) -> Response:
        path = request.path.rstrip("/")
        if path in _FORBIDDEN:
            raise _Refused(403, "This server lets no client read or write files.")
        if path in self._functions:
            return self._call(path, request)
        if ours := explanations.ROUTES.fullmatch(path):
            return self._explain(request, **ours.groupdict())
        if request.method not in ("GET", "HEAD"):
            raise _Refused(405, f"{request.method} is not possible here.")
        if path in ("", "/index.html"):
            return self._index()
        if path == "/lit_plugins/page.css":
            return self._page_style()
        if path == "/lit_plugins/status":
            return _json({"models": dict(self._status())})
        if path.startswith("/lit_plugins/client/"):
            return _file(CLIENT_FOLDER.resolve(), path.removeprefix("/lit_plugins/client/"), 0)
        return _file(self._root, path, 3600)

    def _index(self) -> Response:
        response = _file(self._root, lit_client.INDEX, 0)
        # A notebook's page frames ours from another origin.
        ancestors = "" if self._allow_cross_origin else "; frame-ancestors 'self'"
        response.headers["Content-Security-Policy"] = _POLICY + ancestors
        page = _INLINE_STYLE.sub(b"", _FOREIGN_STYLE.sub(b"", response.get_data()))
        page = page.replace(b"</head>", _CLIENT_STYLE + b"</head>", 1)
        if self._with_our_client:
            page = page.replace(b"</head>", _STAND_INS + b"</head>", 1)
            before, end, after = page.rpartition(b"</body>")
            page = before + _CLIENT_SCRIPT + end + after
        response.set_data(page)
        return response

    def _page_style(self) -> Response:
        response = _file(self._root, lit_client.INDEX, 0)
        response.set_data(b"".join(_INLINE_STYLE.findall(response.get_data())))
        response.content_type = _CONTENT_TYPES[".css"]
        return response

    def _call(self, path: str, request: Request) -> Response:
        """Check a request for one of LIT's endpoints and runs it."""
        allowed = ("GET", "POST") if path in _WITHOUT_BODY else ("POST",)
        if request.method not in allowed:
            raise _Refused(405, f"{path} needs {' or '.join(allowed)}, not {request.method}.")
        self._check_origin(request)
        if path == "/push_ui_state" and self._app.ui_state_tracker is None:
            raise _bad("This server does not follow the page's state; a notebook's does.")
        parameters = self._parameters(path, request)
        data = _read_json(request)
        if path in _WITH_INPUTS:
            data["inputs"] = self._inputs(path, parameters, data.get("inputs"))
        self._check_config(path, parameters, data)
        simple = utils.coerce_bool(request.args.get("response_simple_json", True))

        with self._turn(path):
            if path in _CREATE:
                self._check_new_name(path, data)
            result = self._functions[path](data, **parameters)
            return _json(result, simple=simple, origin=parameters.get("model", path))

    def _explain(
        self, request: Request, name: str, job: str | None, cancel: str | None
    ) -> Response:
        """Check a request of our own client's modules and answer it: see Explanations."""
        asks = self._explanations
        reads = name == "about" or (job is not None and cancel is None)
        allowed = ("GET", "HEAD") if reads else ("POST",)
        if request.method not in allowed:
            raise _Refused(405, f"{request.path} needs {allowed[0]}, not {request.method}.")
        self._check_origin(request)
        if name == "about":
            return _json(asks.about())
        try:
            if job is not None:
                return _json(asks.jobs.cancel(job) if cancel else asks.jobs.look(job))
            body = explanations.read(name, _read_json(request))
            parameters = {"model": body.model, "dataset_name": body.dataset}
            _check_known("model", body.model, asks.models())
            _check_known("dataset_name", body.dataset, self._app._datasets)
            [example] = self._inputs("/get_preds", parameters, [body.example])
            with self._turn(request.path):
                return _json(getattr(asks, name)(body, example["data"]), origin=body.model)
        except jobs.Unknown as error:
            raise _Refused(404, str(error)) from None
        except jobs.Busy as error:
            raise _Refused(503, str(error)) from None

    @contextlib.contextmanager
    def _turn(self, path: str) -> Iterator[None]:
        """Let a limited number of requests compute at once, and only one create something."""
        if path in _WITHOUT_BODY:
            yield
            return
        # Enough of the server's threads always stay free for the page and its status.
        if not self._working.acquire(blocking=False):
            raise _Refused(503, f"Busy: {WORKING_LIMIT} requests are in work. Try again later.")
        try:
            # LIT rebuilds its tables after creating a model or dataset.
            with self._create_lock if path in _CREATE else contextlib.nullcontext():
                yield
        finally:
            self._working.release()

    def _check_origin(self, request: Request) -> None:
        origin = request.headers.get("Origin")
        if origin is None or self._allow_cross_origin or request.method != "POST":
            return
        canonical = self._app._canonical_url or ""
        hosts = (request.headers.get("Host", ""), urlsplit(canonical).netloc or canonical)
        # Compared as text: for the browser too, another port is another origin.
        if urlsplit(origin).netloc.lower() not in [host.lower() for host in hosts if host]:
            raise _Refused(
                403,
                f"Requests from {origin[:200]!r} are not accepted. If that is this server's own "
                "address behind a proxy, start it with --canonical_url.",
            )

    def _parameters(self, path: str, request: Request) -> dict[str, str]:
        """Return the parameters that LIT's function takes, each naming something known."""
        app = self._app
        known: dict[str, Collection[str]] = {
            "model": app._models,
            "model_name": app._model_loaders,
            "dataset_name": app._dataset_loaders if path == "/create_dataset" else app._datasets,
            "generator": app._generators,
            "interpreter": app._interpreters,
            "saved_datapoints_id": app._saved_datapoints,
        }
        parameters = {}
        for name in _ENDPOINTS[path].split():
            required = name.endswith("!")
            name = name.removesuffix("!")
            value = request.args.get(name)
            if not value:
                if required:
                    raise _bad(f"{path} needs the parameter {name!r}.")
                continue
            if name in known:
                _check_known(name, value, known[name])
            elif name == "metrics":
                for metric in filter(None, value.split(",")):
                    _check_known("metric", metric, app._metrics)
            elif name == "requested_types":
                for type_name in filter(None, value.split(",")):
                    cls = getattr(lit_types, type_name, None)
                    if not (inspect.isclass(cls) and issubclass(cls, lit_types.LitType)):
                        raise _bad(f"Unknown type {type_name[:100]!r} in 'requested_types'.")
            parameters[name] = value
        return parameters

    def _inputs(self, path: str, parameters: Mapping[str, str], inputs: Any) -> list[Any]:
        """Return the examples that a request gives, or names by their id."""
        if not isinstance(inputs, list):
            raise _bad("The body must be a JSON object whose 'inputs' is a list of examples.")
        if path == "/post_new_data":  # plain examples, as LIT documents it
            for position, example in enumerate(inputs):
                if not isinstance(example, dict):
                    raise _bad(f"Example {position} must be a JSON object of fields.")
                self._check_fields(parameters, position, example)
            return inputs
        dataset = self._app._datasets.get(parameters.get("dataset_name", ""))
        index: Mapping[Any, Any] = dataset.index if dataset is not None else {}
        examples = []
        for position, example in enumerate(inputs):
            if isinstance(example, str):
                if example not in index:
                    raise _bad(f"Example {position}: no example has the id {example[:100]!r}.")
                examples.append(index[example])
                self._check_fields(parameters, position, index[example]["data"])
                continue
            if not (isinstance(example, dict) and isinstance(example.get("data"), dict)):
                raise _bad(
                    f"Example {position} must be an id or an object whose 'data' is an object."
                )
            fields = example["data"]
            if path != "/annotate_new_data":  # where examples get their ids
                self._check_id(position, example, required=dataset is not None)
            self._check_fields(parameters, position, fields)
            examples.append(example)
        if path == "/get_metrics" and not examples:
            raise _bad("Metrics need at least one example.")
        return examples

    def _check_id(self, position: int, example: Mapping[str, Any], *, required: bool) -> None:
        fields = example["data"]
        given = fields.get("_id")
        if not (given is None or isinstance(given, str)):
            raise _bad(f"Example {position}: '_id' must be text.")
        if required and not (isinstance(example.get("id"), str) and example["id"] == given):
            raise _bad(f"Example {position}: 'id' and 'data._id' must be the same text.")
        # A false id would put a wrong answer into the cache for everybody.
        strict = self._app._caching_model_wrapper_kw["strict_id_validation"]
        if strict and given and given != caching.input_hash(dict(fields)):
            raise _bad(f"Example {position}: '_id' is not the hash of its fields.")

    def _check_fields(
        self, parameters: Mapping[str, str], position: int, fields: Mapping[str, Any]
    ) -> None:
        """Raise if a field that a model or dataset declares is missing or of a wrong type."""
        if "model" in parameters:
            spec = self._app._models[parameters["model"]].input_spec()
        else:
            spec = self._app._datasets[parameters["dataset_name"]].spec()
        for name, field in spec.items():
            value = fields.get(name)
            if value is None:
                if field.required and "model" in parameters:
                    raise _bad(f"Example {position} lacks the field {name!r}.")
                continue
            if isinstance(field, lit_types.StringLitType):
                if isinstance(field, lit_types.CategoryLabel):
                    continue  # LIT lets labels be numbers
                fits, expected = isinstance(value, str), "text"
                if fits and not is_encodable(value):
                    raise _bad(f"Example {position}: {name!r} holds half a surrogate pair.")
            elif isinstance(field, lit_types.TokenScores):
                fits = isinstance(value, list) and all(
                    isinstance(number, (int, float)) and math.isfinite(number) for number in value
                )
                expected = "a list of numbers"
            elif isinstance(field, lit_types.Tokens):
                fits = isinstance(value, list) and all(isinstance(token, str) for token in value)
                expected = "a list of texts"
            else:
                continue
            if not fits:
                raise _bad(
                    f"Example {position}: field {name!r} must be {expected}, "
                    f"not {type(value).__name__}."
                )

    def _check_config(self, path: str, parameters: Mapping[str, str], data: dict[str, Any]) -> None:
        config = data.get("config")
        if config is None:
            if path in _CREATE:
                raise _bad("The body must be a JSON object with the object 'config'.")
            data.pop("config", None)
            return
        if not isinstance(config, dict):
            raise _bad(f"'config' must be a JSON object, not {type(config).__name__}.")
        app = self._app
        spec: dict[str, Any] = {}
        if path == "/create_model":
            spec = app._model_loaders[parameters["model_name"]][1] or {}
        elif path == "/create_dataset":
            spec = app._dataset_loaders[parameters["dataset_name"]][1] or {}
        elif path == "/get_interpretations":
            spec = app._interpreters[parameters["interpreter"]].config_spec()
        elif path == "/get_generated":
            spec = app._generators[parameters["generator"]].config_spec()
        elif path == "/get_metrics":
            for metric in parameters.get("metrics", ",".join(app._metrics)).split(","):
                spec |= app._metrics[metric].config_spec() if metric else {}
        elif path == "/push_ui_state":
            data["config"] = {
                key: config[key] for key in ("primary_id", "pinned_id") if key in config
            }
        for name, field in spec.items():
            if name not in config:
                if field.required:
                    raise _bad(f"'config' lacks {name!r}.")
            elif isinstance(field, lit_types.StringLitType) and not isinstance(config[name], str):
                raise _bad(f"{name!r} in 'config' must be text.")
        if path in _CREATE:
            for name in config:
                if name != "new_name":
                    _check_known("option", name, spec)

    def _check_new_name(self, path: str, data: Mapping[str, Any]) -> None:
        name = data["config"].get("new_name")
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise _bad(
                f"The name {str(name)[:100]!r} must be letters, digits, '_', '.' or '-', "
                "and begin with a letter or digit."
            )
        taken = self._app._models if path == "/create_model" else self._app._datasets
        if name in taken:
            raise _bad(f"The name {name!r} is taken. Choose another.")


def _check_known(what: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        shown = sorted(entry for entry in known if not entry.startswith("_"))
        available = ", ".join(shown[:20]) + (", …" if len(shown) > 20 else "")
        raise _bad(
            f"Unknown {what.replace('_name', '').replace('_', ' ')} {name[:100]!r}. "
            f"Available: {available or 'none'}."
        )


def _read_json(request: Request) -> dict[str, Any]:
    """Return the body, an empty object if there is none."""
    header = request.environ.get("CONTENT_LENGTH") or "0"
    if not (header.isascii() and header.isdigit() and len(header) < 20):
        raise _bad("The header Content-Length must be a number of bytes.")
    length = int(header)
    if length > BODY_LIMIT:
        raise _Refused(413, f"A request may have {BODY_LIMIT >> 20} MB, not {length >> 20} MB.")
    body = request.environ["wsgi.input"].read(length) if length else b""
    if len(body) < length:
        raise _bad("The request ended before its body was complete.")
    if not body:
        return {}
    try:
        # LIT's own hook: it revives arrays and types. json lets NaN through if not told.
        data = json.loads(body, object_hook=serialize._obj_from_json, parse_constant=_no_constant)
    except RecursionError:
        raise
    except ValueError as error:  # malformed JSON, not UTF-8, a number of a million digits
        raise _bad(f"The body is not valid JSON: {str(error)[:200]}") from error
    except Exception as error:  # an object that claims to be one of LIT's types and is not
        raise _bad("The body holds a malformed object of LIT's.") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise _bad(f"The body must be a JSON object, not {type(data).__name__}.")
    return data


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number that JSON knows.")


def _plain(status: int, message: str) -> Response:
    # LIT's client shows the user what stands before this mark, else 'Unknown error'. It
    # looks for it with a pattern that stays within the first line.
    message = " ".join(message.encode(errors="backslashreplace").decode().split())
    text = f"{message}\n\nDetails: status {status}"
    return Response(text, status, content_type="text/plain; charset=utf-8")


def _json(result: Any, *, simple: bool = True, origin: str = "") -> Response:
    try:
        # NaN and infinity are no JSON: the page could not read any of the answer.
        text = serialize.to_json(result, simple=simple, allow_nan=not simple)
    except ValueError as error:
        place = _not_finite(result)
        if place is None:
            raise
        _log.warning("Result of %r holds NaN or infinity: %s", origin, place)
        raise _Refused(
            500,
            f"{origin!r} gave NaN or infinity in {place}. With float16 weights, try "
            "dtype=bfloat16 or dtype=float32.",
        ) from error
    response = Response(text, content_type="application/json")
    response.headers["Cache-Control"] = "no-cache"
    return response


def _not_finite(value: Any) -> str | None:
    """Return where a result holds its first NaN or infinity: '0.grad_l2'."""
    if isinstance(value, Mapping):
        entries = ((str(key), entry) for key, entry in value.items())
    elif isinstance(value, (list, tuple)):
        entries = ((str(position), entry) for position, entry in enumerate(value))
    elif hasattr(value, "tolist"):
        return _not_finite(value.tolist())
    else:
        return "" if isinstance(value, float) and not math.isfinite(value) else None
    for key, entry in entries:
        if (rest := _not_finite(entry)) is not None:
            # A position inside a list of numbers says nothing: the field's name does.
            return key if not rest or rest.isdigit() else f"{key}.{rest}"
    return None


def _file(root: Path, name: str, seconds: int) -> Response:
    """Return a real file inside root, which must be resolved, kept `seconds` in caches."""
    try:
        path = (root / name.lstrip("/")).resolve()
        inside = path.is_relative_to(root) and path.is_file()
        content = path.read_bytes() if inside else None
    except (OSError, ValueError):  # no such file, a NUL byte, a name too long, a link to itself
        content = None
    if content is None:
        raise _Refused(404, "There is nothing here.")
    content_type = _CONTENT_TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    response = Response(content, content_type=content_type or "application/octet-stream")
    response.headers["Cache-Control"] = f"private, max-age={seconds}" if seconds else "no-cache"
    return response
