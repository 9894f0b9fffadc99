"""This project as a contestant, for each way to write a stream, from one checkout or several."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from flask_redis_events import Emitter
from tests.support.processes import ROOT
from tests.support.servers import RedisServer, WebServer

from .contestant import APPS, Event, GunicornContestant, PinnedGunicorn


class Package(NamedTuple):
    """A checkout whose package is measured; its figures have the label."""

    label: str
    directory: Path


class Ours(GunicornContestant):
    """This project; `handoff` is the setting.

    `package` is the checkout whose package the server runs.  The application, the load and the
    emitter are always this tree's, so that two checkouts are measured by the same code.
    """

    resumes = True
    handoff = "auto"
    package = ROOT

    def __init__(self, redis: RedisServer, **env: str) -> None:
        settings = {
            "BENCH_REDIS_EVENTS_URL": redis.url,
            "BENCH_REDIS_EVENTS_HANDOFF": self.handoff,
            "BENCH_REDIS_EVENTS_PREFIX": self.prefix,
            # Python and gunicorn would put the working directory first, which is this tree; Python
            # does not in its safe mode, nor gunicorn where the path has it already.
            "PYTHONPATH": os.pathsep.join(map(str, [self.package, APPS, ROOT])),
            "PYTHONSAFEPATH": "1",
        }
        super().__init__(redis, **settings, **env)
        self.emitter = Emitter(redis.url, prefix=self.prefix)

    def _server(self) -> WebServer:
        return PinnedGunicorn("ours:create_app()", env=self.env)

    def check_package(self) -> None:
        """Raise RuntimeError if the running server has the package of another checkout."""
        found = self._get("package").decode()
        if found != str(self.package):
            raise RuntimeError(f"{self.name} runs the package of {found}, not of {self.package}.")

    def publish(self, events: Sequence[Event]) -> None:
        if len(events) == 1:
            self.emitter.emit(*events[0])
        else:
            self.emitter.emit_many(events)

    def metrics(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self._get("metrics"))
        return found

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.server.url}/{path}") as response:
            body: bytes = response.read()
            return body


class Generator(Ours):
    name = "generator"
    handoff = "off"


class HandOff(Ours):
    name = "hand-off"


class Callback(Ours):
    name = "callback"
    path = "callback"


class SharedCallback(Ours):
    name = "shared callback"
    path = "shared"


class GeneratorFunction(Ours):
    name = "generator function"
    path = "generator"


class Poll(Ours):
    """A poll function for each client: what it returns needs nobody to publish it."""

    name = "poll"
    path = "poll"

    def publish(self, events: Sequence[Event]) -> None:
        """Leave it to the poll."""


def from_package(kind: type[Ours], package: Package) -> type[Ours]:
    """Return the contestant whose server runs the package of another checkout."""
    name = f"{kind.name} {package.label}"
    return type(kind.__name__, (kind,), {"name": name, "package": package.directory})
