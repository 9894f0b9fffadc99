"""A Redis over TLS: `rediss://`."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from tests.support.processes import Process, free_port
from tests.support.servers import Gunicorn
from tests.support.sse_client import SSEClient
from tests.support.waiting import wait_until

from .conftest import APP

FILES = Path(__file__).parents[1] / "support" / "tls"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Start the system's Redis with a certificate, because the embedded Valkey lacks TLS."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        message = "A redis-server or valkey-server with TLS is needed on the PATH."
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    port = free_port()
    options = {
        "--port": "0",
        "--tls-port": str(port),
        "--tls-cert-file": str(FILES / "cert.pem"),
        "--tls-key-file": str(FILES / "key.pem"),
        "--tls-ca-cert-file": str(FILES / "cert.pem"),
        "--tls-auth-clients": "no",
        "--save": "",
        "--dir": str(tmp_path),
    }
    process = Process(
        [binary, *(word for option in options.items() for word in option)],
        tmp_path / "redis.log",
        os.environ,
    )
    url = f"rediss://localhost:{port}/0?ssl_ca_certs={FILES / 'cert.pem'}"

    def answers() -> bool:
        process.check()
        with redis.Redis.from_url(url, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    process.start()
    try:
        wait_until(answers, 10, lambda: process.log)
        yield url
    finally:
        process.end(signal.SIGTERM)


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_events_come_over_tls(url: str, worker_class: str):
    """Reading, publishing and history work over TLS."""
    env = {"TEST_REDIS_EVENTS_URL": url}
    with Gunicorn(APP, worker_class=worker_class, args=["--threads", "9"], env=env) as server:

        def emit(data: int) -> None:
            assert httpx.post(server.url + "/emit/x", json=data).status_code == 200

        with SSEClient(server.url + "/channel/x") as client:
            assert client.next().event == "ready"
            emit(1)
            assert client.next_data() == 1
            id = client.decoder.last_event_id
        emit(2)
        with SSEClient(server.url + "/channel/x", last_event_id=id) as again:
            assert again.next_data() == 2
