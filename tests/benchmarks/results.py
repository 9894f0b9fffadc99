"""The results: every value of every round, and tables of their medians."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: (contestant, measure, number of clients or channels)
Key = tuple[str, str, int]
#: (measure, number of clients or channels)
Row = tuple[str, int]
#: Measures without ratios, because a contestant's value is close to 0.
NO_RATIO = ("memory", "readings")


class Results:
    """Values by contestant, measure and number of clients (or of channels)."""

    def __init__(self) -> None:
        self.values: defaultdict[Key, list[float]] = defaultdict(list)
        self.about: dict[str, Any] = {}

    def add(self, name: str, measure: str, count: int, value: float) -> None:
        self.values[name, measure, count].append(value)

    def median(self, name: str, measure: str, count: int) -> float | None:
        found = self.values.get((name, measure, count))
        return statistics.median(found) if found else None

    def measures(self) -> list[Row]:
        """Return all measures, in the order in which they were added."""
        return list(dict.fromkeys((measure, count) for _, measure, count in self.values))

    def names(self) -> list[str]:
        """Return the names of all contestants."""
        return list(dict.fromkeys(name for name, _, _ in self.values))

    def save(self, path: Path) -> None:
        rows = [
            {"name": name, "measure": measure, "count": count, "values": values}
            for (name, measure, count), values in self.values.items()
        ]
        path.write_text(json.dumps({"about": self.about, "rows": rows}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        found = json.loads(path.read_text())
        results = cls()
        results.about = found["about"]
        for row in found["rows"]:
            results.values[row["name"], row["measure"], row["count"]] = row["values"]
        return results

    def table(self, *, to: Sequence[str] = ()) -> str:
        """Return medians with a column for each contestant, and their ratios to those in `to`."""
        tables = []
        for names, rows in self._groups():
            tables.append(self._matrix(names, rows))
            tables.extend(self._matrix(names, rows, to=other) for other in to if other in names)
        return "\n\n".join(tables)

    def _groups(self) -> list[tuple[list[str], list[Row]]]:
        """Group the measures by the contestants that have them, one table each."""
        found: defaultdict[tuple[str, ...], list[Row]] = defaultdict(list)
        for measure, count in self.measures():
            names = [name for name in self.names() if (name, measure, count) in self.values]
            found[tuple(names)].append((measure, count))
        return [(list(names), rows) for names, rows in found.items()]

    def _matrix(self, names: list[str], rows: list[Row], *, to: str | None = None) -> str:
        head = "median" if to is None else f"÷ {to}"
        lines = [[head, "N", *names, *(["spread"] if to is None else [])]]
        for measure, count in rows:
            if to is not None and measure.startswith(NO_RATIO):
                continue
            medians = [self.median(name, measure, count) or 0.0 for name in names]
            if to is None:
                cells = [shown(measure, median) for median in medians]
                cells.append(f"{100 * self._spread(names, measure, count):.0f} %")
            else:
                base = self.median(to, measure, count)
                cells = [f"{median / base:.2f}" if base else "" for median in medians]
            lines.append([measure, f"{count:,}", *cells])
        return columns(lines)

    def _spread(self, names: list[str], measure: str, count: int) -> float:
        """Return the largest of the contestants' interquartile ranges, as a share of the median."""
        found = [self.values[name, measure, count] for name in names]
        return max(_middle_half(values) / (statistics.median(values) or 1) for values in found)


def _middle_half(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    return quartiles[2] - quartiles[0]


def shown(measure: str, value: float) -> str:
    """Write a value in the unit of its measure."""
    if measure.startswith(("CPU per", "latency")):
        return f"{digits(value * 1e6)} µs" if value < 1e-3 else f"{digits(value * 1e3)} ms"
    if measure.startswith("memory"):
        return f"{digits(value / 1024)} KiB"
    if measure.startswith("share"):
        return f"{digits(100 * value)} %"
    if measure.startswith("seconds"):
        return f"{digits(value)} s"
    return f"{value:,.0f}"


def digits(value: float) -> str:
    """Write a number with at least three significant digits."""
    places = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{places}f}"


def columns(lines: list[list[str]]) -> str:
    """Align rows in columns: text on the left in the first, numbers on the right in the others."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rows = []
    for line in lines:
        first, *rest = [(cell, width) for cell, width in zip(line, widths, strict=True)]
        cells = [f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in rest)]
        rows.append("  ".join(cells).rstrip())
    return "\n".join(rows)
