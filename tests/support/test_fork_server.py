"""A gunicorn that is forked is as one that was started."""

from __future__ import annotations

import json
import re
import signal
import sys
from typing import Any

import pytest

from tests.support.fork_server import Fork
from tests.support.processes import Process
from tests.support.servers import Gunicorn

APP = "tests.support.apps.streams:create_app()"
#: Says what a worker was started with, and which modules hold on to what gevent has replaced.
CONFIG = """
import json, os, sys

def post_worker_init(worker):
    from gevent import monkey

    replaced = [one for names in monkey.saved.values() for one in names.values() if callable(one)]
    ids = {id(one) for one in replaced}
    held = [
        f"{module}.{name}"
        for module, one in list(sys.modules.items())
        if module not in monkey.saved and not module.startswith("gevent")
        for name, value in list(vars(one).items())
        if id(value) in ids
    ]
    said = {"arguments": sys.argv[1:], "path": sys.path, "directory": os.getcwd(), "held": held}
    print("said " + json.dumps(said | {"environ": {**os.environ}}), flush=True)
"""
#: Locks that nobody keeps while others run, and what belongs to asyncio's loop and command lines.
HARMLESS = {
    *("asyncio.base_futures.get_ident", "click.globals.local"),
    *("jinja2.utils.Lock", "werkzeug.routing.map.Lock"),
}


class Started(Gunicorn):
    """A gunicorn that is no fork."""

    _process_type = Process


def said_by(kind: type[Gunicorn]) -> dict[str, Any]:
    with kind(APP, workers=1, config_text=CONFIG, env={"GREETING": "hello"}) as server:
        [said] = re.findall("^said (.*)", server.log, re.MULTILINE)
        said = said.replace(str(server.directory), "DIRECTORY").replace(str(server.port), "PORT")
    found: dict[str, Any] = json.loads(said)
    return found


def test_a_fork_has_what_a_start_gives():
    """Also what gevent has replaced: a fork holds on to nothing of it that matters."""
    fork, start = said_by(Gunicorn), said_by(Started)
    held = {*fork.pop("held")} - {*start.pop("held")}

    assert fork == start
    assert held <= HARMLESS


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 0), (signal.SIGKILL, -9)])
def test_the_status_of_a_fork_is_known(number: int, status: int):
    """As of a child."""
    with Gunicorn(APP, workers=1) as server:
        child = server._process._child
        assert isinstance(child, Fork)
        server._process.end(number)

    assert (child.returncode, child.poll(), server._process.status) == (status,) * 3


def test_what_is_read_early_needs_a_start():
    """Python reads its variables once."""
    with Gunicorn(APP, workers=1, env={"PYTHONOPTIMIZE": "1"}) as server:
        assert not isinstance(server._process._child, Fork)
        assert server._process._command[0] == sys.executable
