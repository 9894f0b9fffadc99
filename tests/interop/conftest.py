"""Clients by others, each as the documentation shows it in `docs/clients/`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from flask_redis_events import Emitter
from tests.e2e.conftest import App, starting
from tests.support.apps.pages import CLIENTS
from tests.support.browsers import Browse, browse, programs
from tests.support.npm import INSTALL
from tests.support.processes import ROOT, Process
from tests.support.servers import RedisServer

__all__ = ["browse"]

HERE = Path(__file__).parent
STATIC = ROOT / "flask_redis_events" / "static"

#: The modules that run in Node; the others run in a browser.
NODE = ("eventsource.js", "launchdarkly-eventsource.js")
#: Files of the packages, and the names under which pages load them.
FILES = {
    "htmx-2/dist/htmx.min.js": "htmx-2.min.js",
    "htmx-ext-sse/dist/sse.min.js": "htmx-ext-sse.min.js",
    "htmx-4/dist/htmx.min.js": "htmx-4.min.js",
    "htmx-4/dist/ext/hx-sse.min.js": "hx-sse.min.js",
    "@hotwired/turbo/dist/turbo.es2017-umd.js": "turbo-umd.js",
}


class Heard(NamedTuple):
    """What a client has heard: the messages that it was given, and the number of its resets."""

    messages: list[Any]
    resets: int


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the libraries, and bundle the documentation's modules for browsers."""
    node, npm = programs("node", "npm", packages="nodejs npm")
    directory = tmp_path_factory.mktemp("modules")
    ours = [HERE / name for name in ("package.json", "run.mjs", "ai_sdk.mjs", "frameworks.js")]
    for path in [*CLIENTS.iterdir(), *ours]:
        shutil.copy(path, directory)

    def run(*command: str) -> None:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr

    run(npm, *INSTALL)
    browsers = [path.name for path in CLIENTS.glob("*.js") if path.name not in NODE]
    esbuild = [node, "node_modules/esbuild/bin/esbuild", "--bundle", "--format=esm"]
    module = f"--alias:flask-redis-events={STATIC / 'redis-events.js'}"
    run(*esbuild, *browsers, "frameworks.js", module, "--outdir=static")
    for file, name in FILES.items():
        shutil.copy(directory / "node_modules" / file, directory / "static" / name)
    return directory


@pytest.fixture
def app(
    own_redis_server: RedisServer, modules: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[App]:
    monkeypatch.setenv("TEST_STATIC", str(modules / "static"))
    with starting(own_redis_server, "interop:") as start:
        yield start(workers=2, app="tests.support.apps.pages:create_app()")


@pytest.fixture
def emitter(app: App, own_redis_server: RedisServer) -> Iterator[Emitter]:
    """Emit beside the application, whose workers come and go."""
    emitter = Emitter(own_redis_server.url, prefix=app.prefix)
    yield emitter
    emitter.close()


class Clients:
    """Clients that listen, each in the way that the documentation shows."""

    def __init__(self, app: App, modules: Path, directory: Path, browse: Browse) -> None:
        self._app, self._modules, self._directory, self._browse = app, modules, directory, browse
        self._ending = ExitStack()

    def listen(self, file: str, path: str) -> Callable[[], Heard]:
        """Let the client of a file listen to a stream; return a function that tells its news."""
        if file.endswith(".py"):
            return self._run(sys.executable, str(HERE / "run.py"), str(CLIENTS / file), path=path)
        if file in NODE:
            return self._run("node", str(self._modules / "run.mjs"), f"./{file}", path=path)
        return self.open(file, self._app.url + path)

    def open(self, file: str, stream: str, *, host: str = "127.0.0.1") -> Callable[[], Heard]:
        """Open a page of a host whose client listens to the stream of a URL."""
        page = self._browse()
        query = urlencode({"client": file, "stream": stream})
        page.get(f"http://{host}:{self._app.server.port}/listen?{query}")
        return lambda: Heard(*page.execute_script("return [got, resets.length]"))

    def _run(self, *command: str, path: str) -> Callable[[], Heard]:
        url = self._app.url + path
        process = Process([*command, url], self._directory / "client.log", os.environ)
        process.start()
        self._ending.callback(process.end, 15)

        def heard() -> Heard:
            lines = [json.loads(line) for line in process.log.splitlines() if line[:1] == "["]
            messages = [data for kind, *rest in lines if kind == "message" for data in rest]
            return Heard(messages, sum(kind == "reset" for kind, *_ in lines))

        return heard

    def close(self) -> None:
        self._ending.close()


@pytest.fixture
def clients(app: App, modules: Path, tmp_path: Path, browse: Browse) -> Iterator[Clients]:
    clients = Clients(app, modules, tmp_path, browse)
    yield clients
    clients.close()
