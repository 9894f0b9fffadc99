"""The module in Node, its types, its size, and its package."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

import flask_redis_events
from tests.support.npm import node_modules, program, run
from tests.support.processes import ROOT

__all__ = ["node_modules"]

HERE = Path(__file__).parent
STATIC = ROOT / "flask_redis_events" / "static"
MOST_BYTES = 6 * 1024

# npm installs, and some of the tests in Node wait for time-outs.
pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("name", [path.name for path in sorted(HERE.glob("*.test.mjs"))])
def test_in_node(name: str):
    """The tests that are written in JavaScript pass."""
    run(program("node"), "--test", HERE / name, cwd=ROOT)


def test_the_module_is_small(node_modules: Path):
    """Minified and compressed, the module has less than six kilobytes."""
    minified = run(
        node_modules / ".bin" / "esbuild", "--minify", STATIC / "redis-events.js", cwd=ROOT
    )

    assert len(gzip.compress(minified.encode(), 9)) < MOST_BYTES


def test_the_types(node_modules: Path, tmp_path: Path):
    """TypeScript accepts right uses of the module, and refuses wrong ones."""
    shutil.copytree(STATIC, tmp_path / "node_modules" / "flask-redis-events")
    shutil.copy(HERE / "types.ts", tmp_path)

    run(
        node_modules / ".bin" / "tsc",
        *("--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"),
        "types.ts",
        cwd=tmp_path,
    )


def test_the_package(tmp_path: Path):
    """The npm package has the module and its types, in the version of the Python package."""
    packed = run(program("npm"), "pack", "--json", "--pack-destination", tmp_path, cwd=STATIC)
    [package] = json.loads(packed)

    assert package["name"] == "flask-redis-events"
    assert package["version"] == flask_redis_events.__version__
    assert {file["path"] for file in package["files"]} == {
        "package.json",
        "redis-events.js",
        "redis-events.d.ts",
    }
