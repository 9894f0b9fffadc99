"""The running demo: `python -m flask_redis_events demo`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.processes import ROOT, free_port
from tests.support.waiting import wait_until

COMMAND = [sys.executable, "-m", "flask_redis_events", "demo"]


def without_redis() -> dict[str, str]:
    """Return the environment without REDIS_EVENTS_URL."""
    return {name: value for name, value in os.environ.items() if name != "REDIS_EVENTS_URL"}


def refused(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a demo that is expected not to start."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=without_redis() | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


class Demo:
    """A demo of two workers; without other arguments, it listens on loopback."""

    def __init__(self, log: Path, *arguments: str, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.log = log
        self._arguments = arguments
        self._environment = environment
        self.start()

    def start(self) -> None:
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*COMMAND, "--port", str(self.port), *self._arguments],
                cwd=ROOT,
                env=without_redis() | self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=_as_in_a_terminal,
            )
        wait_until(lambda: f":{self.port}/" in self.log.read_text(), 30, self.log.read_text)
        wait_until(lambda: all(map(_heeds_signals, self.workers())), 20)

    def stop(self) -> None:
        every = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            for child in every:
                if child.is_running():
                    child.kill()
            raise

    def family(self) -> list[psutil.Process]:
        """Return its processes: the guard, a Redis, gunicorn and two workers, the publisher."""
        parent = psutil.Process(self.process.pid)
        wait_until(lambda: len(parent.children(recursive=True)) >= 6, 20)
        return parent.children(recursive=True)

    def child(self, name: str) -> psutil.Process:
        """Return the child of the launcher that has the name in its command."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if name in " ".join(child.cmdline()))

    def workers(self) -> list[int]:
        """Return the process ids of gunicorn's two workers, once both run."""
        parent = self.child("gunicorn")
        wait_until(lambda: len(parent.children()) == 2, 20)
        return [worker.pid for worker in parent.children()]


@contextmanager
def running(log: Path, *arguments: str, **environment: str) -> Iterator[Demo]:
    """Run a demo, and end it after the block."""
    demo = Demo(log, *arguments, **environment)
    try:
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.stop()


def _heeds_signals(worker: int) -> bool:
    """Say whether a worker of gunicorn is so far that it would act on SIGTERM."""
    # A worker that was just forked still has its parent's handlers, and drops what they note; its
    # own are set together, and the parent has none for SIGABRT.
    status = Path(f"/proc/{worker}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGABRT - 1) & 1)


def _as_in_a_terminal() -> None:
    """Accept signals that the test run may ignore, as under nohup or in a shell's background."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
