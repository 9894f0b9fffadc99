"""Faults that a page of the demo causes."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import psutil
from flask import Flask, Response, abort, request

from flask_redis_events import RedisEvents

from . import numbers
from .children import FREEZE, RESTART
from .permission import LAUNCHER, allowed, is_our_page

#: The channel on which the workers learn whose connection to cut.
CUT = "cut"


def add_faults(app: Flask, events: RedisEvents) -> None:
    """Add the route of the faults."""
    faults: dict[str, Callable[[], Any]] = {
        "cut": lambda: events.emit(CUT, _given("pid", "port"), persist=False),
        "kill": _kill,
        # The parent of a worker is gunicorn's master.
        "reload": lambda: os.kill(os.getppid(), signal.SIGHUP),
        "flood": lambda: events.emit(numbers.WANTED, None),
        "freeze": lambda: os.kill(int(os.environ[LAUNCHER]), FREEZE),
        "restart": lambda: os.kill(int(os.environ[LAUNCHER]), RESTART),
    }

    @app.post("/faults/<name>")
    def cause(name: str) -> Any:
        if name not in faults:
            abort(404)
        if name not in allowed() or not is_our_page():
            return {"error": "Only the demo's own page may do this, on the same machine."}, 403
        done = faults[name]()
        return done if isinstance(done, Response) else ("", 204)

    @events.on(CUT)
    def cut(channel: str, connection: Any) -> None:
        if connection["pid"] == os.getpid():
            shut(connection["port"])


def _given(*names: str) -> dict[str, int]:
    """Return the numbers that the page has sent."""
    body = request.get_json()
    given = body if isinstance(body, dict) else {}
    if not all(isinstance(given.get(name), int) for name in names):
        abort(400, f"The request needs the numbers {', '.join(names)}.")
    return {name: given[name] for name in names}


def _kill() -> Response:
    """Kill a worker, after the answer, because it may be this one."""
    pid = _given("pid")["pid"]
    if pid not in [worker.pid for worker in psutil.Process(os.getppid()).children()]:
        abort(409, f"{pid} is no worker of this demo now.")
    response = Response(status=204)
    response.call_on_close(lambda: os.kill(pid, signal.SIGKILL))
    return response


def shut(port: int) -> None:
    """Shut the connection from a client's port, as a network that fails would."""
    for connection in psutil.Process().net_connections("tcp"):
        if connection.raddr and connection.raddr.port == port and connection.fd >= 0:
            borrowed = socket.socket(fileno=connection.fd)
            try:
                borrowed.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has just ended by itself
            finally:
                borrowed.detach()
