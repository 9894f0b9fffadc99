"""Packages of npm, installed once for a run of the tests."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

#: A request that gets no answer is repeated soon; npm itself would wait for five minutes.
INSTALL = (
    *("install", "--ignore-scripts", "--no-audit", "--no-fund"),
    *("--fetch-timeout=20000", "--fetch-retries=5"),
    *("--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"),
)
PACKAGES = {"esbuild": "0.28.2", "typescript": "5.9"}


def program(name: str) -> str:
    """Return the path of node or npm; without it the test fails in CI, or is skipped."""
    path = shutil.which(name)
    if path is None:
        missing = f"This test needs {name} (Debian: nodejs npm)."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    return str(path)


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program and return its output; the test fails with the output if the program does."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, text=True, capture_output=True, check=False
    )
    if done.returncode:
        pytest.fail(f"{command[0]}:\n{done.stdout}\n{done.stderr}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `node_modules` with all PACKAGES; the processes of one run share it."""
    npm = program("npm")
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "npm"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "node_modules").exists():
            names = [f"{name}@{version}" for name, version in PACKAGES.items()]
            # What makes it the project's folder.  With `--prefix`, npm would not read the settings
            # of the machine, such as the certificates of its proxy.
            (folder / "package.json").write_text("{}")
            run(npm, *INSTALL, *names, cwd=folder)
    return folder / "node_modules"
