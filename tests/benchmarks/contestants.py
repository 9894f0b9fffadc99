"""Who takes part, and what they need of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from .contestant import Contestant
from .others import FlaskSSE, FlaskSSEFilter, Limit, Nchan, SSEStarlette, SSEStarletteFilter
from .ours import Callback, Generator, GeneratorFunction, HandOff, Poll, SharedCallback

#: Those to whom messages are published: what passes through, then what code of the user makes.
PUBLISHED_TO: Sequence[type[Contestant]] = [
    *[Generator, HandOff, FlaskSSE, SSEStarlette, Nchan, Limit],
    *[Callback, SharedCallback, GeneratorFunction, FlaskSSEFilter, SSEStarletteFilter],
]
EVERYONE: Sequence[type[Contestant]] = [*PUBLISHED_TO, Poll]


def missing(kind: type[Contestant]) -> str:
    """Say what a contestant needs that is not on this machine, or ""."""
    programs: dict[type[Contestant], str] = {Nchan: "nginx", Limit: "gcc"}
    needs = programs.get(kind, "taskset")
    if shutil.which(needs) is None:
        return needs
    nchan = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
    return "libnginx-mod-nchan" if kind is Nchan and not nchan.exists() else ""
