"""Child processes that surely end: what Redis and the web servers of the tests have in common."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

#: Apps are named from here: "tests.support.apps.trivial:create_app()".
ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """Return a loopback port that nobody listens on, below those that the kernel hands out.

    A client that reconnects to a dead server on one of the kernel's ports can be given that very
    port as its own, and then talks to itself; the server never gets it back.
    """
    for _ in range(200):
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("No free port between 20000 and 32000 on 127.0.0.1.")


class Process:
    """One child process; its output goes to `log_path`, over restarts too."""

    def __init__(self, command: Sequence[str], log_path: Path, env: Mapping[str, str]) -> None:
        self._command = list(command)
        self._env = dict(env)
        self._child: subprocess.Popen[bytes] | None = None
        self.log_path = log_path
        #: The exit status of the last time that it was ended; negative: the signal that did it.
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
        """Everything it has printed so far."""
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def check(self) -> None:
        """Raise RuntimeError, with what it printed, if it has ended by itself."""
        if not self.running:
            raise RuntimeError(f"{' '.join(self._command)} ended by itself:\n{self.log}")

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """Return the exit status; raise TimeoutError if it is still there after `timeout` s."""
        if self._child is None:
            return 0
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired as exc:
            raise TimeoutError(f"{self.pid} still runs after {timeout} s:\n{self.log}") from exc

    def end(self, number: int, *, timeout: float = 5) -> None:
        """Ask it to end with a signal, then insist; its children go with it.  Idempotent."""
        if self._child is None:
            return
        family = self._children() if self.running else []
        if self.running:
            self.signal(number)
            self.signal(signal.SIGCONT)
            try:
                self.wait(timeout)
            except TimeoutError:
                self.signal(signal.SIGKILL)
                self.wait(timeout)
        for orphan in family:
            # psutil compares start times, so that this is never another process's number.
            if orphan.is_running():
                orphan.kill()
        self.status = self._child.returncode
        self._child = None

    def _children(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
