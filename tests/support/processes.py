"""Child processes that always end; the tests' Redis and web servers are built on them."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil

#: The directory from which apps are named: "tests.support.apps.trivial:create_app()".
ROOT = Path(__file__).resolve().parents[2]

_PORTS = range(20_000, 32_000)
#: The port that a test process of this user got last.
_LAST_PORT = Path(tempfile.gettempdir()) / f"redis-events-last-port-{os.getuid()}"


def free_port() -> int:
    """Return a free loopback port, below those that the kernel gives to outgoing connections.

    On one of the kernel's ports, a client that reconnects to a stopped server may be given that
    very port as its own; it then talks to itself, and the server cannot bind the port again.

    A server does not bind its port at once, and has none while it is restarted.  So test processes
    that run side by side count through the ports together, and each gets another one.
    """
    with _LAST_PORT.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        last = int(file.read() or random.choice(_PORTS))
        for offset in range(1, len(_PORTS) + 1):
            port = _PORTS[(last - _PORTS.start + offset) % len(_PORTS)]
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            file.truncate(0)
            file.write(str(port))
            return port
    raise RuntimeError(f"No free port from {_PORTS[0]} to {_PORTS[-1]} on 127.0.0.1.")


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment and `env`, without variables that configure servers."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GUNICORN_", "FLASK_", "WERKZEUG_"))
    }
    path = os.pathsep.join(filter(None, [str(ROOT), ours.get("PYTHONPATH", "")]))
    return {**ours, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **env}


class Child(Protocol):
    """What is used of a `subprocess.Popen`."""

    pid: int
    returncode: Any

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...


class Process:
    """One child process; its output is appended to `log_path`, also after a restart."""

    def __init__(self, command: Sequence[str], log_path: Path, env: Mapping[str, str]) -> None:
        self._command = list(command)
        self._env = dict(env)
        self._child: Child | None = None
        self.log_path = log_path
        #: The exit status after the last `end`; a negative one is the number of the signal.
        self.status: int | None = None

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RuntimeError(f"{self._command[0]} is not running: start() it first.")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def log(self) -> str:
        """The output of the process so far."""
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    def start(self) -> None:
        self._child = self._start(self._command, self._env)

    def _start(self, command: Sequence[str], env: Mapping[str, str]) -> Child:
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def check(self) -> None:
        """Raise RuntimeError, with the output, if the process has ended by itself."""
        if not self.running:
            raise RuntimeError(f"{' '.join(self._command)} ended by itself:\n{self.log}")

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """Return the exit status; raise TimeoutError if there is none after `timeout` seconds."""
        if self._child is None:
            return 0
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired as exc:
            raise TimeoutError(f"{self.pid} still runs after {timeout} s:\n{self.log}") from exc

    def end(self, number: int, *, timeout: float = 5) -> None:
        """End the process and its children: with a signal, then with SIGKILL.  Idempotent."""
        if self._child is None:
            return
        family = self.children() if self.running else []
        if self.running:
            self.signal(number)
            self.signal(signal.SIGCONT)
            try:
                self.wait(timeout)
            except TimeoutError:
                self.signal(signal.SIGKILL)
                self.wait(timeout)
        for orphan in family:
            # psutil compares start times, so a reused process id is not mistaken for the orphan.
            if orphan.is_running():
                orphan.kill()
        self.status = self._child.returncode
        self._child = None

    def children(self) -> list[psutil.Process]:
        """Return the processes that it started, and theirs."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
