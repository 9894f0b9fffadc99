"""The wheel and the sdist, built once, and environments that have them."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.support.processes import ROOT


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist, and the wheel that is built from it."""
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", str(directory), str(ROOT), here=directory)
    (sdist,), (wheel,) = directory.glob("*.tar.gz"), directory.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


@pytest.fixture(scope="session", params=["wheel", "sdist"])
def python(
    request: pytest.FixtureRequest,
    built: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The Python of a new environment that has the package, and only what the package requires."""
    directory = tmp_path_factory.mktemp(request.param)
    venv.create(directory, with_pip=False)
    pip(directory, "install", str(built[request.param]), here=directory)
    return directory / "bin" / "python"


def outside() -> dict[str, str]:
    """Return an environment in which Python does not find the checkout."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**environ, "PYTHONSAFEPATH": "1"}


def run(*command: str, here: Path, fails: bool = False) -> str:
    """Run a command in a directory; return its output, and fail if its exit status is not right."""
    done = subprocess.run(
        command,
        cwd=here,
        env=outside(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert (done.returncode != 0) is fails, done.stdout
    return done.stdout


def pip(environment: Path, command: str, *arguments: str, here: Path) -> None:
    """Run the pip of the tests for an environment that has none."""
    options = ["--no-compile", "--disable-pip-version-check"]
    run(
        *(sys.executable, "-m", "pip", "--python", str(environment)),
        *(command, *options, *arguments),
        here=here,
    )
