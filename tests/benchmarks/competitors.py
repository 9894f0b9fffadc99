"""An environment of their own for the other projects, made once and kept."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

#: As of November 2026.
THEIRS = [
    "Flask-SSE==1.0.0",
    "sse-starlette==3.7.0",
    "uvicorn==0.54.0",
    "uvloop==0.23.0",
    "httptools==0.9.0",
    "matplotlib==3.11.2",
]
#: What both sides use has the same version on both.
SHARED = ["flask", "gevent", "gunicorn[gevent]", "hiredis", "redis"]


def environment() -> Path:
    """Return the Python of the environment, which is made first if it is not there."""
    default = Path(tempfile.gettempdir()) / "redis-events-competitors"
    directory = Path(os.environ.get("BENCH_VENV", default))
    python = directory / "bin" / "python"
    done = directory / "complete"
    if not done.exists():
        print(f"Installing the other projects into {directory} …", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", *THEIRS, *_same_versions()]
        subprocess.run(command, check=True)
        done.touch()
    return python


def _same_versions() -> list[str]:
    return [f"{name}=={metadata.version(name.partition('[')[0])}" for name in SHARED]
