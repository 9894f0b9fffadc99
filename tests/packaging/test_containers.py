"""The files for Docker, carried out without Docker as far as that goes."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.docs.blocks import DOCS, blocks
from tests.support.processes import Process, free_port
from tests.support.proxies import NGINX_FILES, PROXIES, Proxy, which
from tests.support.servers import RedisServer
from tests.support.sse_client import SSEClient
from tests.support.waiting import wait_until

from .conftest import outside, pip

pytestmark = pytest.mark.timeout(300)

FILES = DOCS / "howto" / "docker"
SERVICES: dict[str, Any] = yaml.safe_load((FILES / "compose.yaml").read_text("utf-8"))["services"]

#: What the test asks the application, beside the quickstart's views.
ASKED = """
@app.get("/seen")
def seen():
    handed_off = events.hub.metrics.snapshot().get("handed_off", 0)
    return {"address": request.remote_addr, "handed_off": handed_off}
"""


class Instruction(NamedTuple):
    name: str
    rest: str


def dockerfile() -> Iterator[Instruction]:
    for line in (FILES / "Dockerfile").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            yield Instruction(*line.split(maxsplit=1))


def the_block(page: str, beginning: str) -> str:
    """Return the code of a page that begins with this line."""
    (found,) = [one.text for one in blocks(page) if one.text.startswith(beginning)]
    return found


def test_the_services_fit_together():
    """Each volume is declared, each file is there, and each service that one waits for."""
    whole = yaml.safe_load((FILES / "compose.yaml").read_text("utf-8"))
    mounted = [one.split(":")[0] for two in SERVICES.values() for one in two.get("volumes", ())]
    paths = {one for one in mounted if "/" in one}

    assert set(mounted) - paths == set(whole["volumes"])
    assert [one for one in paths if not (FILES / one).is_file()] == []
    assert {one for two in SERVICES.values() for one in two.get("depends_on", ())} <= set(SERVICES)
    assert SERVICES["app"]["environment"] == {"FLASK_REDIS_EVENTS_URL": "redis://redis:6379/0"}


@pytest.fixture
def redis_of_compose(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis with the options of compose.yaml."""
    program, *options = shlex.split(SERVICES["redis"]["command"])
    directory = tmp_path / "redis"
    directory.mkdir()
    with RedisServer(directory, arguments=options) as server:
        assert program == "redis-server"
        yield server


@pytest.fixture
def shop(python: Path, built: dict[str, Path], tmp_path: Path) -> Path:
    """The working directory of the image: what is copied to it, and what pip installs there."""
    context, work = tmp_path / "context", tmp_path / "work"
    context.mkdir()
    work.mkdir()
    shutil.copy(built["wheel"], context)
    (context / "requirements.txt").write_text(f"./{built['wheel'].name}\n")
    proxy_fix = the_block("proxies.rst", "from werkzeug.middleware.proxy_fix import")
    app = the_block("quickstart.rst", "from flask import Flask")
    (context / "app.py").write_text(app + proxy_fix + ASKED)
    shutil.copy(FILES / "gunicorn.conf.py", context)
    for name, rest in dockerfile():
        if name == "COPY":
            for pattern in rest.split()[:-1]:
                for path in context.glob("*" if pattern == "." else pattern):
                    shutil.copy(path, work)
        elif name == "RUN" and (install := rest.removeprefix("pip ")) != rest:
            pip(python.parents[1], *install.split(), here=work)
    return work


@pytest.mark.parametrize("python", ["wheel"], indirect=True)
def test_a_browser_reaches_the_containers(
    python: Path, shop: Path, redis_of_compose: RedisServer, tmp_path: Path
):
    """nginx, gunicorn and Redis serve the quickstart with these files, and end in time."""
    if which("nginx") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("nginx is needed on the PATH.")
    (program, *arguments) = json.loads(dict(dockerfile())["CMD"])
    address = f"127.0.0.1:{free_port()}"
    settings = shop / "gunicorn.conf.py"
    settings.write_text(settings.read_text().replace("0.0.0.0:8000", address))
    process = Process(
        # `Process` has a working directory of its own.
        ["env", "--chdir", str(shop), str(python.parent / program), *arguments],
        tmp_path / "gunicorn.log",
        {**outside(), "FLASK_REDIS_EVENTS_URL": redis_of_compose.url},
    )
    kind = dataclasses.replace(
        PROXIES["nginx"],
        file=f"../{FILES.relative_to(DOCS)}/nginx.conf",
        replace={
            "listen 80;": "listen 127.0.0.1:{port};",
            "app:8000": address,
            "http {": "http {{ access_log off;\n" + NGINX_FILES,
        },
        scheme="http",
    )
    with ExitStack() as running:
        running.callback(process.end, 15)
        process.start()
        wait_until(lambda: process.log.count("Booting worker") == 2, 30, lambda: process.log)
        nginx = running.enter_context(Proxy(kind, tmp_path))
        seen = [fetch(nginx, "GET", "/seen") for _ in range(3)]
        assert {one["address"] for one in seen} == {"127.0.0.2"}
        client = running.enter_context(SSEClient(f"{nginx.url}/stream/orders", timeout=20))
        assert client.next(20).event == "ready"
        fetch(nginx, "POST", "/orders", '{"item": "book"}')

        assert client.next_data() == {"item": "book"}
        seen = [fetch(nginx, "GET", "/seen") for _ in range(20)]
        assert max(one["handed_off"] for one in seen) == 1

        process.signal(15)
        assert client.next(20).event == "reconnect"
        grace = SERVICES["app"]["stop_grace_period"].removesuffix("s")
        assert process.wait(int(grace)) == 0


def fetch(proxy: Proxy, method: str, path: str, body: str | None = None) -> Any:
    """Send a request from another address than the proxy's own; return what the JSON says."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", proxy.port, timeout=60, source_address=("127.0.0.2", 0)
    )
    connection.request(method, path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    with closing(connection):
        return json.load(response)
