"""The threaded servers, over real sockets."""

import http.client
import json
import socket
import threading
import time

import pytest
from lit_nlp import dev_server
from lit_nlp.lib import caching

from lit_plugins.errors import ConfigError
from lit_plugins.server import guard, serving


@pytest.fixture
def server(make_app, echo, client_root):
    server = serving.NotebookServer(make_app(echo, client_root), host="127.0.0.1")
    server.serve()
    yield server
    echo.release.set()
    server.stop()


def ask(server, method, path, body=None, timeout=10):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def head(length):
    return f"POST /get_info HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def predict(server, prompt, answers=None):
    fields = {"prompt": prompt}
    identity = caching.input_hash(fields)
    entry = {"id": identity, "data": {**fields, "_id": identity}}
    path = "/get_preds?model=echo&dataset_name=menus"
    answer = ask(server, "POST", path, json.dumps({"inputs": [entry]}), timeout=30)
    if answers is not None:
        answers.append(answer)
    return answer


def test_a_slow_prediction_blocks_nobody(server, echo):
    answers = []
    threads = [
        threading.Thread(target=predict, args=(server, "slow", answers))
        for _ in range(guard.WORKING_LIMIT + 5)
    ]
    for thread in threads:
        thread.start()
    assert echo.entered.wait(10)
    begin = time.monotonic()
    while len(answers) < 5:  # those beyond the limit are turned away
        assert time.monotonic() - begin < 10
        time.sleep(0.01)
    assert {status for status, _ in answers} == {503}
    begin = time.monotonic()
    assert ask(server, "GET", "/get_info")[0] == 200
    assert ask(server, "GET", "/lit_plugins/status")[0] == 200
    assert ask(server, "GET", "/")[0] == 200
    assert time.monotonic() - begin < 2
    echo.release.set()
    for thread in threads:
        thread.join(10)
    assert sorted(status for status, _ in answers) == [200] * guard.WORKING_LIMIT + [503] * 5
    assert predict(server, "again")[0] == 200


def test_get_info_during_a_prediction(server, echo):
    answers = []
    thread = threading.Thread(target=predict, args=(server, "slow", answers))
    thread.start()
    assert echo.entered.wait(10)
    begin = time.monotonic()
    assert ask(server, "GET", "/get_info")[0] == 200
    assert predict(server, "fast")[0] == 200
    assert time.monotonic() - begin < 2
    assert answers == []
    echo.release.set()
    thread.join(10)
    assert answers[0][0] == 200


def test_half_sent_requests_block_nobody(server):
    clients = []
    try:
        for number in range(guard.WORKING_LIMIT + 20):
            client = socket.create_connection(("127.0.0.1", server.port))
            clients.append(client)
            if number % 3 == 0:
                client.sendall(
                    b"POST /get_preds HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n{"
                )
            elif number % 3 == 1:
                client.sendall(b"GET / HT")
        begin = time.monotonic()
        assert ask(server, "GET", "/get_info")[0] == 200
        assert time.monotonic() - begin < 2
    finally:
        for client in clients:
            client.close()


def test_a_body_too_large_is_refused_before_it_is_sent(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        head = (
            f"POST /get_preds HTTP/1.1\r\nHost: x\r\nContent-Length: {guard.BODY_LIMIT + 1}\r\n\r\n"
        )
        client.sendall(head.encode())
        assert b" 413 " in client.recv(1000).splitlines()[0]


def test_negative_length(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(head(-5))
        assert b" 400 " in client.recv(1000).splitlines()[0]


def test_raw_paths_stay_inside(server):
    status, text = ask(server, "GET", "/../client_private/secret.txt")
    assert (status, "secret" in text) == (404, False)


def test_no_server_name_in_the_headers(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", "/")
    headers = connection.getresponse().headers
    connection.close()
    assert "waitress" not in str(headers).lower()


def test_the_notebook_servers_life(make_app, echo, client_root):
    app = make_app(echo, client_root)
    server = serving.NotebookServer(app, host="localhost", port=None, data_dir="unused")
    with pytest.raises(RuntimeError, match="serve"):
        _ = server.port
    server.stop()
    server.serve()
    port = server.port
    server.serve()
    assert server.port == port
    assert server.app is app
    begin = time.monotonic()
    server.stop()
    server.stop()
    assert time.monotonic() - begin < 2
    with pytest.raises(OSError):  # noqa: PT011
        socket.create_connection(("localhost", port), timeout=1)


def test_stop_ends_jobs(make_app, echo, client_root):
    server = serving.NotebookServer(make_app(echo, client_root), host="127.0.0.1")
    server.serve()
    ended = threading.Event()

    def work(watch):
        try:
            while True:
                watch.tick(1)
                time.sleep(0.01)
        finally:
            ended.set()

    jobs = server._guard._explanations.jobs
    jobs._wait = 0
    jobs.start(work)
    server.stop()
    assert ended.wait(5)


def test_stop_while_predicting(make_app, echo, client_root):
    server = serving.NotebookServer(make_app(echo, client_root), host="127.0.0.1")
    server.serve()

    def failing():
        with pytest.raises((OSError, http.client.HTTPException)):
            predict(server, "slow")

    thread = threading.Thread(target=failing)
    thread.start()
    assert echo.entered.wait(10)
    begin = time.monotonic()
    server.stop()
    assert time.monotonic() - begin < 2
    thread.join(5)
    assert not thread.is_alive()


def test_port_in_use(make_app, echo, client_root):
    app = make_app(echo, client_root)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"Port {port} .* in use.*--port"):
            serving.ThreadedServer(app, port=port).serve()


@pytest.mark.parametrize("host", ["256.1.1.1", "no such host", "192.0.2.1"])
def test_address_that_cannot_be(make_app, echo, client_root, host):
    with pytest.raises(ConfigError, match="--host"):
        serving.ThreadedServer(make_app(echo, client_root), port=0, host=host).serve()


def test_register():
    serving.register()
    assert dev_server.WSGI_SERVERS["lit_plugins"] is serving.ThreadedServer
