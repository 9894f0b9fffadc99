"""Start the processes of the demo (a Redis, gunicorn, the publisher), watch them, and end them."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from flask_redis_events import BrokerError, ConfigError, Emitter, settings

from .children import (
    FREEZE,
    RESTART,
    Alive,
    CannotStart,
    asked,
    bindable,
    guarded_children,
    note_signals,
    pause,
    wait_until_it_listens,
)
from .own_redis import OwnRedis, own_redis
from .permission import ALLOWED, LAUNCHER, OF_REDIS, OF_THE_WEB, is_loopback

DEFAULT_PORT = 8000
#: The settings are named explicitly, because gunicorn would otherwise read a gunicorn.conf.py in
#: the current directory, which may be another project's.
SETTINGS = Path(__file__).with_name("gunicorn_settings.py")
#: A process of its own, which imports packages of the extra `demo`.
PUBLISHER = [sys.executable, "-m", "flask_redis_events.demo.publisher"]


def main(argv: list[str] | None = None) -> int:
    """Run the demo until Ctrl-C; return the exit status."""
    arguments = _parse(argv)
    note_signals()
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
        description="A page of live events, and buttons that break what brings them.",
    )
    add_arguments(parser)
    return parser.parse_args(argv)


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


def _run(arguments: argparse.Namespace, running: ExitStack) -> int:
    """Start the processes and watch them; `running` ends them in reverse order."""
    if importlib.util.find_spec("psutil") is None:
        raise CannotStart("The demo needs psutil: pip install 'Flask-Redis-Events[demo]'")
    host, port = arguments.host, choose_port(arguments.host, arguments.port)
    prefix = os.environ.get("REDIS_EVENTS_PREFIX", "demo:")
    url = given_redis("REDIS_EVENTS_URL", prefix)
    children = running.enter_context(guarded_children())
    redis = None
    if url is None:
        redis = running.enter_context(own_redis(children))
        url = redis.url
    environ = {
        **os.environ,
        "REDIS_EVENTS_URL": url,
        "REDIS_EVENTS_PREFIX": prefix,
        LAUNCHER: str(os.getpid()),
        ALLOWED: " ".join(_faults(host, redis)),
        "PYTHONUNBUFFERED": "1",
    }
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    command = gunicorn("flask_redis_events.demo.app:create_app()", address, arguments.workers)
    web = running.enter_context(children.running(command, environ))
    publisher = running.enter_context(children.running(PUBLISHER, environ))
    if not wait_until_it_listens(web, host, port, seconds=20):
        raise CannotStart("gunicorn does not start: see its error above.")
    print(f"\n  The demo runs at http://{address}/  (Ctrl-C ends it)\n", flush=True)
    alive = {
        "gunicorn": lambda: web.poll() is None,
        "the publisher": lambda: publisher.poll() is None,
        "the guard": children.guarded,
    }
    return _watch(alive, redis)


def _faults(host: str, redis: OwnRedis | None) -> tuple[str, ...]:
    """Return the faults that pages may cause: none of them for other machines."""
    if not is_loopback(host):
        return ()
    # Others may depend on a Redis that the environment names.
    return OF_THE_WEB if redis is None else OF_THE_WEB + OF_REDIS


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
        emitter = Emitter(settings.url(variable, url), prefix=prefix)
        # A transient event is tried only once, so an unreachable Redis is reported at once.
        emitter.emit("demo", "starts", persist=False)
        emitter.close()
    except (BrokerError, ConfigError) as error:
        raise CannotStart(str(error)) from error
    return url


def gunicorn(app: str, address: str, workers: int) -> list[str]:
    """Return the command that serves an application."""
    return [
        *(sys.executable, "-m", "gunicorn", app),
        *("--config", str(SETTINGS), "--workers", str(workers), "--bind", address),
    ]


def _watch(alive: Mapping[str, Alive], redis: OwnRedis | None) -> int:
    """Cause faults of Redis on request; return 1 once a process has ended by itself."""
    while True:
        if redis and asked(FREEZE):
            redis.freeze()
        if redis and asked(RESTART):
            redis.restart()
        all_alive = {"Redis": redis.alive, **alive} if redis else alive
        for name, runs in all_alive.items():
            if not runs():
                # The parts are of no use without each other.
                print(
                    f"demo: {name} has ended unexpectedly, so the demo ends, too.", file=sys.stderr
                )
                return 1
        pause(0.1)


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
