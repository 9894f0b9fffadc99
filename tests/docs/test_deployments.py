"""The files for Docker and systemd: what can be run of them without Docker and systemd."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_redis_events import Emitter
from tests.docs.blocks import DOCS
from tests.support.processes import ROOT, Process
from tests.support.proxies import NGINX_FILES, PROXIES, Proxy, which
from tests.support.servers import Gunicorn, RedisServer
from tests.support.sse_client import SSEClient
from tests.support.waiting import wait_until

HOWTO = DOCS / "howto"


def program(name: str) -> str:
    """Return a program's path; without it, the test fails in CI, or is skipped."""
    if (path := which(name)) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"This test needs {name}.")
        raise AssertionError
    return path


@pytest.fixture
def gunicorn(redis_server: RedisServer, prefix: str) -> Iterator[Gunicorn]:
    """gunicorn, with the configuration of the page."""
    program("nginx")
    env = {"TEST_REDIS_EVENTS_URL": redis_server.url, "TEST_REDIS_EVENTS_PREFIX": prefix}
    text = (HOWTO / "docker" / "gunicorn.conf.py").read_text("utf-8")
    app = "tests.support.apps.documented:create_app()"
    with Gunicorn(app, env=env, config_text=text) as gunicorn:
        yield gunicorn


@pytest.fixture
def nginx(gunicorn: Gunicorn) -> Iterator[Proxy]:
    """nginx, with the configuration of the page, before it."""
    kind = dataclasses.replace(
        PROXIES["nginx"],
        file="../howto/docker/nginx.conf",
        replace={
            "listen 80;": "listen 127.0.0.1:{port};",
            "app:8000": f"127.0.0.1:{gunicorn.port}",
            "http {": "http {{ access_log off;\n" + NGINX_FILES,
        },
        scheme="http",
    )
    with tempfile.TemporaryDirectory() as shop, Proxy(kind, Path(shop)) as proxy:
        yield proxy


def test_the_containers_pass_events_on(
    gunicorn: Gunicorn, nginx: Proxy, redis_server: RedisServer, prefix: str
):
    """An event reaches a client of nginx at once; without gunicorn nginx says `reconnect`."""
    emitter = Emitter(redis_server.url, prefix=prefix)
    with SSEClient(f"{nginx.url}/stream/orders") as client:
        assert client.next().event == "ready"
        emitter.emit("documented", 7)
        assert client.next_data() == 7
        gunicorn.terminate()
        assert client.until(lambda event: event.event == "reconnect")
    emitter.close()
    with SSEClient(f"{nginx.url}/stream/orders") as client:
        assert client.next().data == '{"reason":"no server"}'


def test_systemd_takes_the_units(tmp_path: Path):
    """`systemd-analyze verify` finds no fault with the socket and the service."""
    for name in ("shop.socket", "shop.service"):
        text = (HOWTO / "systemd" / name).read_text("utf-8")
        gunicorn = str(Path(sys.executable).parent / "gunicorn")
        text = text.replace("/srv/shop/env/bin/gunicorn", gunicorn)
        (tmp_path / name).write_text(text.replace("/srv/shop", str(tmp_path)))
    command = [program("systemd-analyze"), "verify", *map(str, tmp_path.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)

    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_hands_its_socket_to_gunicorn(redis_server: RedisServer, tmp_path: Path):
    """The service's command takes the socket that is there already, and tells when it is ready."""
    text = (HOWTO / "systemd" / "shop.service").read_text("utf-8")
    [command] = re.findall(r"ExecStart=\S+/gunicorn (.*) app:app", text)
    path, notified = tmp_path / "gunicorn.sock", socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notified.bind(str(tmp_path / "notify"))
    notified.settimeout(20)
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "TEST_REDIS_EVENTS_URL": redis_server.url,
    }
    passed_on = [word for name in env for word in ("-E", name)]
    gunicorn = [str(Path(sys.executable).parent / "gunicorn"), *command.split()]
    app = "tests.support.apps.documented:create_app()"
    listen = [program("systemd-socket-activate"), "--listen", str(path), *passed_on]
    process = Process([*listen, *gunicorn, app], tmp_path / "log", env)
    process.start()
    try:
        wait_until(path.exists)
        with socket.socket(socket.AF_UNIX) as client, notified:
            client.connect(str(path))
            client.sendall(b"GET /stream/orders HTTP/1.0\r\nHost: shop\r\n\r\n")
            client.settimeout(20)
            received = b""
            while b"event: ready" not in received:
                received += client.recv(4096) or pytest.fail(process.log)
            assert b"READY=1" in notified.recv(1024)
    finally:
        process.end(signal.SIGTERM)


def test_the_dockerfile_starts_gunicorn_itself():
    """gunicorn is the container's first process, and so receives SIGTERM; compose builds it."""
    files = {path.name: path.read_text("utf-8") for path in (HOWTO / "docker").iterdir()}

    assert 'CMD ["gunicorn", "app:app"]' in files["Dockerfile"]
    assert "COPY . ." in files["Dockerfile"]
    assert "build: ." in files["compose.yaml"]
    assert "app:8000" in files["nginx.conf"]
    assert ":8000" in files["gunicorn.conf.py"]
