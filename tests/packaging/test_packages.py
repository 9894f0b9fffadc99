"""The wheel and the sdist, built once, and each installed in an environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

import flask_redis_events
from tests.support.processes import ROOT, Process, free_port
from tests.support.sse_client import SSEClient
from tests.support.waiting import wait_until

from .conftest import outside, run

# Downloads count, too.
pytestmark = pytest.mark.timeout(300)

#: What a checkout has and an sdist is to have, so that its tests run and its pages can be built.
CHECKOUT = (".ci", "docs", "examples", "flask_redis_events", "tests")


@pytest.fixture(scope="module")
def unpacked(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that is in the sdist."""
    directory = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["tar", "xf", built["sdist"], "-C", directory], check=True)
    (top,) = directory.iterdir()
    return top


def files(directory: Path, *names: str) -> set[str]:
    """Return the paths of all files below some of a directory's parts, also behind links."""
    return {
        os.path.relpath(os.path.join(folder, file), directory)
        for name in names
        for folder, _, found in os.walk(directory / name, followlinks=True)
        for file in found
        if not file.endswith((".pyc", ".sqlite"))
    }


def test_an_index_takes_them(built: dict[str, Path]):
    """The metadata is complete, and README can be shown."""
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, built.values()), here=ROOT)


def test_the_sdist_is_a_checkout(unpacked: Path):
    """The sdist has the tests, the pages, the examples, and the files that run them."""
    assert files(ROOT, *CHECKOUT) - files(unpacked, *CHECKOUT) == set()
    assert {path.name for path in unpacked.iterdir() if path.is_file()} >= {
        *("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.cfg", "tox.ini"),
        ".ruff.toml",
    }


def test_the_wheel_is_the_package(built: dict[str, Path]):
    """The wheel has each file of the package, and nothing else beside its metadata."""
    names = set(zipfile.ZipFile(built["wheel"]).namelist())
    package = {name for name in names if ".dist-info/" not in name}

    assert package == files(ROOT, "flask_redis_events")


def test_tests_run_in_the_sdist(unpacked: Path):
    """The sdist's own tests test the sdist's own package."""
    said = run(
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"),
        *("tests/wire/test_position.py", "tests/test_rate.py", "tests/test_settings.py"),
        here=unpacked,
    )

    assert re.search(r"^[0-9]+ passed in", said, re.MULTILINE), said


def test_it_is_installed(python: Path, tmp_path: Path):
    """The package is imported from the new environment."""
    show = "import flask_redis_events as it; print(it.__version__, it.__file__)"
    version, file = run(str(python), "-c", show, here=tmp_path).split()

    assert version == flask_redis_events.__version__
    assert Path(file).is_relative_to(python.parent.parent)


def test_the_demo_explains_itself(python: Path, tmp_path: Path):
    """`demo --help` needs no extra; `demo` without the extra names it."""
    demo = [str(python), "-m", "flask_redis_events", "demo"]

    assert "--port" in run(*demo, "--help", here=tmp_path)
    assert "Flask-Redis-Events[demo]" in run(*demo, here=tmp_path, fails=True)


def test_a_stream_is_served(python: Path, tmp_path: Path):
    """README's application, under gunicorn and without Redis, streams what is posted to it."""
    (text,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "app.py").write_text(text)
    with (
        gunicorn(python, tmp_path) as url,
        SSEClient(f"{url}/stream/orders", timeout=20) as client,
    ):
        assert client.next(20).event == "ready"
        json = {"Content-Type": "application/json"}
        urlopen(Request(f"{url}/orders", b'{"item": "book"}', json)).close()

        assert client.next_data() == {"item": "book"}


@contextmanager
def gunicorn(python: Path, directory: Path) -> Iterator[str]:
    """Serve `app:app`, which is in a directory; yield the URL."""
    port = free_port()
    command = [
        *(str(python), "-m", "gunicorn", "--chdir", str(directory), "app:app"),
        *("--worker-class", "gevent", "--bind", f"127.0.0.1:{port}", "--no-control-socket"),
    ]
    process = Process(command, directory / "gunicorn.log", outside())
    process.start()
    try:
        wait_until(lambda: "Booting worker" in process.log, 20, lambda: process.log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.end(15)
