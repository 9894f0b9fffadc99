"""What launchers have in common: their options, a Redis that is given, gunicorn, and their end."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from flask_redis_events import BrokerError, ConfigError, Emitter, settings

from .children import (
    Alive,
    CannotStart,
    bindable,
    note_signals,
    pause,
)

DEFAULT_PORT = 8000
#: The settings are named explicitly, because gunicorn would otherwise read a gunicorn.conf.py in
#: the current directory, which may be another project's.
SETTINGS = Path(__file__).with_name("gunicorn_settings.py")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of whoever starts a gunicorn."""
    port, workers = _within(0, 65535), _within(1, 64)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=port, help=f"port to listen on ({DEFAULT_PORT})")
    parser.add_argument("--workers", type=workers, default=2, help="gunicorn workers (%(default)s)")


def _within(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be from {least} to {most}, not {text!r}")
        return int(text)

    return parse


def run(name: str, start: Callable[[ExitStack], int]) -> int:
    """Call a function that starts processes and watches them; return the exit status."""
    note_signals()
    try:
        with ExitStack() as running:
            return start(running)
    except CannotStart as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def given_redis(variable: str, prefix: str) -> str | None:
    """Return the URL of the Redis that the variable names, if any; raise if it cannot serve."""
    url = os.environ.get(variable)
    if not url:
        return None
    if url.startswith("memory:"):
        raise CannotStart(
            f"{variable} is {url}, which only one process can reach, but several run here:"
            " set it to the URL of a Redis, or unset it."
        )
    try:
        # Without history an event is tried once, so an unreachable Redis is reported at once.
        emitter = Emitter(settings.url(variable, url), prefix=prefix, history=0)
        emitter.emit("demo", "starts")
        emitter.close()
    except (BrokerError, ConfigError) as error:
        raise CannotStart(str(error)) from error
    return url


def choose_port(host: str, wanted: int | None) -> int:
    """Return the wanted port; without one, the default port, or any free one if that is used."""
    for port in (DEFAULT_PORT, 0) if wanted is None else (wanted,):
        try:
            return bindable(host, port)
        except OSError as error:
            # `create_server` adds the address to the text, so the system's own text is used.  An
            # error of name resolution has a negative errno, and its own text is clear.
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    if wanted is not None:
        raise CannotStart(
            f"Port {wanted} on {host} cannot be used ({reason}): choose another with --port."
        )
    raise CannotStart(f"No port can be used on {host} ({reason}): choose another with --host.")


def address(host: str, port: int) -> str:
    """Return the address as a URL and gunicorn's `--bind` have it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def gunicorn(app: str, address: str, workers: int) -> list[str]:
    """Return the command that serves an application."""
    return [
        *(sys.executable, "-m", "gunicorn", app),
        *("--config", str(SETTINGS), "--workers", str(workers), "--bind", address),
    ]


def watch(name: str, alive: Mapping[str, Alive], act: Callable[[], None] = lambda: None) -> int:
    """Act again and again; return 1 once a process has ended by itself."""
    while True:
        act()
        for part, runs in alive.items():
            if not runs():
                # The parts are of no use without each other.
                print(f"{name}: {part} has ended unexpectedly, so all ends.", file=sys.stderr)
                return 1
        pause(0.1)
