"""Starts gunicorn by a fork of a server process that has imported what each gunicorn imports.

Imports are most of what a start costs.  The server begins with the first gunicorn of a test
process, and ends with that.  It reads requests from its standard input, a line of JSON each, and
answers them on its standard output.  A fork goes on as `python -m gunicorn` does.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from tests.support.processes import ROOT, Child, Process, environment

LOADED = ("flask", "gunicorn.app.wsgiapp", "gunicorn.workers.ggevent", "redis")
#: What would hold on to things that gevent replaces in a worker: each imports it anew.
NOT_KEPT = ("opentelemetry", "redis")
#: Variables that Python, the loader and gevent read when they start.
EARLY = ("GEVENT", "LD_", "PYTHON")
#: Seconds from one look at a child to the next.
LOOK = 0.02


class Fork:
    """A fork of the server."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server = server
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.ask(pid=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if timeout is not None and deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(f"the fork {self.pid}", timeout)
            time.sleep(LOOK)
        return status


class ForkServer:
    """The server, as a test process sees it."""

    def __init__(self) -> None:
        self.env = environment({})
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # Guards the pipes.
        self._lock = threading.Lock()
        atexit.register(self.close)

    def ask(self, **request: Any) -> Any:
        with self._lock:
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@functools.cache
def _server() -> ForkServer:
    return ForkServer()


class Forked(Process):
    """A gunicorn; its command is `python -m gunicorn …`."""

    def _start(self, command: Sequence[str], env: Mapping[str, str]) -> Child:
        server = _server()
        if any(name.startswith(EARLY) and env[name] != server.env.get(name) for name in env):
            return super()._start(command, env)
        request = {"arguments": [*command[3:]], "log": str(self.log_path), "env": {**env}}
        return Fork(server, server.ask(**request))


def load() -> None:
    """Import what each gunicorn imports."""
    for name in LOADED:
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] in NOT_KEPT]:
        del sys.modules[name]
    # gevent asks 25 times while it patches a worker, and each time all packages are looked through.
    metadata.entry_points = metadata.entry_points().select
    # No collection looks at all this again.
    gc.collect()
    gc.freeze()


def serve() -> Any:
    """Answer requests; return one in the fork that it asks for, and None when no more come."""
    for line in sys.stdin:
        request = json.loads(line)
        if "pid" in request:
            pid, status = os.waitpid(request["pid"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if not answer:
                return request
        print(json.dumps(answer), flush=True)
    return None


def become(request: Any) -> None:
    """Take on what a new process is given."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["gunicorn", *request["arguments"]]
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)


if __name__ == "__main__":
    # Whoever interrupts the tests means the test process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load()
    if (asked := serve()) is not None:
        become(asked)
        runpy.run_module("gunicorn", run_name="__main__", alter_sys=True)
