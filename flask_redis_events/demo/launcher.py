"""Start the processes of the demo (a Redis, gunicorn, the publisher), watch them, and end them."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from contextlib import ExitStack

from .children import FREEZE, RESTART, CannotStart, asked, guarded_children, wait_until_it_listens
from .own_redis import OwnRedis, own_redis
from .permission import ALLOWED, LAUNCHER, OF_REDIS, OF_THE_WEB, is_loopback
from .serving import add_arguments, address, choose_port, given_redis, gunicorn, run, watch

#: A process of its own, which imports packages of the extra `demo`.
PUBLISHER = [sys.executable, "-m", "flask_redis_events.demo.publisher"]


def main(argv: list[str] | None = None) -> int:
    """Run the demo until Ctrl-C; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m flask_redis_events demo",
        description="A page of live events, and buttons that break what brings them.",
    )
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    return run("demo", lambda running: _run(arguments, running))


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
    at = address(host, port)
    command = gunicorn("flask_redis_events.demo.app:create_app()", at, arguments.workers)
    web = running.enter_context(children.running(command, environ))
    publisher = running.enter_context(children.running(PUBLISHER, environ))
    if not wait_until_it_listens(web, host, port, seconds=20):
        raise CannotStart("gunicorn does not start: see its error above.")
    print(f"\n  The demo runs at http://{at}/  (Ctrl-C ends it)\n", flush=True)
    alive = {
        "gunicorn": lambda: web.poll() is None,
        "the publisher": lambda: publisher.poll() is None,
        "the guard": children.guarded,
    }
    if redis is None:
        return watch("demo", alive)
    return watch("demo", {"Redis": redis.alive, **alive}, lambda: _cause_faults(redis))


def _cause_faults(redis: OwnRedis) -> None:
    """Cause the faults of Redis that pages have asked for."""
    if asked(FREEZE):
        redis.freeze()
    if asked(RESTART):
        redis.restart()


def _faults(host: str, redis: OwnRedis | None) -> tuple[str, ...]:
    """Return the faults that pages may cause: none of them for other machines."""
    if not is_loopback(host):
        return ()
    # Others may depend on a Redis that the environment names.
    return OF_THE_WEB if redis is None else OF_THE_WEB + OF_REDIS
