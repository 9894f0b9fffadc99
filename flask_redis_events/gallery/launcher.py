"""List the examples, or start the processes of one: a Redis, gunicorn, and the example's worker."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from ..demo.children import Alive, CannotStart, guarded_children, wait_until_it_listens
from ..demo.own_redis import own_redis
from ..demo.serving import add_arguments, address, choose_port, given_redis, gunicorn, run, watch

#: The folder to import `examples` from.
APPS = Path(__file__).with_name("apps")
#: The packages of the extra `examples` that are imported.
PACKAGES = ("flask_login", "flask_sqlalchemy", "psutil", "rq")
PROGRAM = "python -m flask_redis_events examples"


def main(argv: list[str] | None = None) -> int:
    """List the examples, or run one until Ctrl-C; return the exit status."""
    found = dict(_examples())
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Run an example, or list them all.")
    parser.add_argument("name", nargs="?", choices=found, metavar="NAME", help=", ".join(found))
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    if arguments.name is None:
        _list(found)
        return 0
    return run(arguments.name, lambda running: _run(arguments, running))


def _examples() -> Iterator[tuple[str, str]]:
    """Yield the name of each example and its module's first line, without importing any."""
    for path in sorted((APPS / "examples").glob("*/*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        if any(
            isinstance(node, ast.FunctionDef) and node.name == "create_app" for node in tree.body
        ):
            name = path.parent.name if path.stem == "app" else f"{path.parent.name}.{path.stem}"
            yield name, (ast.get_docstring(tree) or "").partition("\n")[0]


def _list(found: dict[str, str]) -> None:
    width = max(map(len, found))
    for name, line in found.items():
        print(f"  {name:{width}}  {line}")
    print(f"\nRun one: {PROGRAM} chat\nRead them: {(APPS / 'examples').resolve()}")


def _run(arguments: argparse.Namespace, running: ExitStack) -> int:
    """Start the processes and watch them; `running` ends them in reverse order."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise CannotStart(
            f"The examples need {', '.join(missing)}:"
            " python -m pip install 'Flask-Redis-Events[examples]'"
        )
    name, host = arguments.name, arguments.host
    port = choose_port(host, arguments.port)
    prefix = os.environ.get("FLASK_REDIS_EVENTS_PREFIX", f"{name}:")
    url = given_redis("FLASK_REDIS_EVENTS_URL", prefix)
    children = running.enter_context(guarded_children())
    directory = running.enter_context(children.directory())
    alive: dict[str, Alive] = {"the guard": children.guarded}
    if url is None:
        _say("Redis starts, for this example alone, and keeps nothing.")
        redis = running.enter_context(own_redis(children))
        alive["Redis"], url = redis.alive, redis.url
    # Python and gunicorn import from the current directory first; the user's may have other
    # `examples`.  All else is imported from where this process imports it.
    os.chdir(APPS)
    environ = {
        # Its own are replaced by those that the environment names.
        "FLASK_SECRET_KEY": secrets.token_urlsafe(),
        "FLASK_SQLALCHEMY_DATABASE_URI": f"sqlite:///{directory / name}.sqlite",
        **os.environ,
        "FLASK_REDIS_EVENTS_URL": url,
        "FLASK_REDIS_EVENTS_PREFIX": prefix,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONUNBUFFERED": "1",
    }
    module = f"examples.{name}" if "." in name else f"examples.{name}.app"
    at = address(host, port)
    _say(f"gunicorn starts, with {arguments.workers} workers.")
    command = gunicorn(f"{module}:create_app()", at, arguments.workers)
    web = running.enter_context(children.running(command, environ))
    alive["gunicorn"] = lambda: web.poll() is None
    if (APPS / "examples" / name / "worker.py").exists():
        _say("The worker beside it starts.")
        command = [sys.executable, "-m", f"examples.{name}.worker"]
        worker = running.enter_context(children.running(command, environ))
        alive["the worker"] = lambda: worker.poll() is None
    if not wait_until_it_listens(web, host, port, seconds=20):
        raise CannotStart("gunicorn does not start: see its error above.")
    # One pattern alone is a stream, and has no page.
    _say(f"It runs at http://{at}/{'stream' if '.' in name else ''}  (Ctrl-C ends it)")
    return watch(name, alive)


def _say(line: str) -> None:
    print(line, flush=True)
