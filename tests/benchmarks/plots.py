"""The plots of the documentation: `python -m tests.benchmarks.plots FILE DIRECTORY`.

It runs in the others' environment, which has matplotlib.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found, unused-ignore]
import matplotlib.pyplot as plt  # type: ignore[import-not-found, unused-ignore]

from .results import Results, shown

#: Ours in colour, the others in greys, the limit in black.
COLOURS = {
    "hand-off": "#0b6e4f",
    "generator": "#6fb98f",
    "nchan": "#7a7a7a",
    "sse-starlette": "#a3a3a3",
    "Flask-SSE": "#c9c9c9",
    "limit": "#111111",
}
#: For lines, which need more than a shade to be told apart.
MARKERS = dict(zip(COLOURS, "osv^Dx", strict=True))
ORDER = list(COLOURS)


def bars(axes: Any, results: Results, measure: str, count: int, *, besides: str = "") -> None:
    """Draw a bar for each contestant, the value beside it."""
    known = [name for name in reversed(ORDER) if name != besides]
    found = {name: results.median(name, measure, count) for name in known}
    values = {name: value for name, value in found.items() if value is not None}
    drawn = axes.barh(list(values), values.values(), color=[COLOURS[name] for name in values])
    axes.bar_label(drawn, [shown(measure, value) for value in values.values()], padding=4)
    axes.set_xlim(0, max(values.values()) * 1.25)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def lines(axes: Any, results: Results, measure: str, scale: float) -> None:
    """Draw a line for each contestant over the counts, whose scale is logarithmic."""
    counts = sorted({count for _, found, count in results.values if found == measure})
    for name in ORDER:
        points = [(count, results.median(name, measure, count)) for count in counts]
        known = [(count, value * scale) for count, value in points if value is not None]
        if known:
            style = {"marker": MARKERS[name], "color": COLOURS[name], "label": name}
            axes.plot(*zip(*known, strict=True), **style)
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.grid(axis="y", color="#e5e5e5")
    axes.spines[["top", "right"]].set_visible(False)


def cpu(results: Results) -> Any:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2))
    bars(left, results, "CPU per delivery, single", 1000)
    bars(right, results, "CPU per delivery, burst", 1000)
    left.set_title("one message at a time", loc="left")
    right.set_title("16 messages at a time", loc="left")
    figure.suptitle("CPU time of the server for one delivery, 1,000 clients (less is better)")
    return figure


def latency(results: Results) -> Any:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axes, kind, title in ((left, "p50", "half of the clients (p50)"), (right, "p99", "p99")):
        lines(axes, results, f"latency {kind}, single", 1000)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
        axes.set_xlabel("clients")
        axes.set_title(title, loc="left")
    left.set_ylabel("milliseconds")
    left.legend(frameon=False)
    figure.suptitle("From emit to arrival, one message to all clients (less is better)")
    return figure


def memory(results: Results) -> Any:
    figure, axes = plt.subplots(figsize=(7, 2.6))
    bars(axes, results, "memory per client", 5000, besides="limit")
    figure.suptitle("Memory of the server for one idle client, 5,000 clients (less is better)")
    return figure


def channels(results: Results) -> Any:
    figure, axes = plt.subplots(figsize=(7, 4))
    lines(axes, results, "CPU per delivery, by channels", 1e6)
    axes.set(xlabel="channels, which 1,000 clients share", ylabel="microseconds")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, ncols=2)
    figure.suptitle("CPU time of the server for one delivery (less is better)")
    return figure


PLOTS: dict[str, Callable[[Results], Any]] = {
    "cpu": cpu,
    "latency": latency,
    "memory": memory,
    "channels": channels,
}


def main(source: str, directory: str) -> None:
    results = Results.load(Path(source))
    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 10, "axes.titlesize": 10, "figure.titlesize": 11})
    for name, draw in PLOTS.items():
        figure = draw(results)
        figure.tight_layout()
        figure.savefig(Path(directory) / f"{name}.png", dpi=144)


if __name__ == "__main__":
    main(*sys.argv[1:])
