"""What was measured: every value of every round, and what is told of them."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

#: (contestant, measure, how many)
Key = tuple[str, str, int]
#: (measure, how many)
Row = tuple[str, int]
#: Where a contestant may have next to nothing (bytes, readings), which is no base for a ratio.
MAYBE_NOTHING, NOTHING = ("memory", "readings"), 100


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
        """Return what was measured, in the order in which it was."""
        return list(dict.fromkeys((measure, count) for _, measure, count in self.values))

    def names(self) -> list[str]:
        """Return whom it was measured of."""
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
        """Return the medians, a column for each contestant, and their ratios to some of them.

        Packages have their ratios to the first one, too.
        """
        tables = []
        for names, rows in self._groups():
            tables.append(self._matrix(names, rows))
            for other, bases in self._comparisons(names, to):
                tables.append(self._ratios(other, bases, rows))
        return "\n\n".join(tables)

    def _comparisons(
        self, names: list[str], to: Sequence[str]
    ) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Yield what the contestants are compared to, and the column that stands for it."""
        labels = list(self.about.get("packages", ()))
        for other in to:
            found = {name: base_of(name, other, names, labels) for name in names}
            bases = {name: base for name, base in found.items() if base is not None}
            if any(name != base for name, base in bases.items()):
                yield other, bases
        for label in labels[1:]:
            first = {name: name.removesuffix(label) + labels[0] for name in names}
            bases = {name: base for name, base in first.items() if name.endswith(f" {label}")}
            if bases:
                yield labels[0], bases

    def _groups(self) -> list[tuple[list[str], list[Row]]]:
        """Return what was measured of the same contestants, together."""
        found: defaultdict[tuple[str, ...], list[Row]] = defaultdict(list)
        for measure, count in self.measures():
            names = [name for name in self.names() if (name, measure, count) in self.values]
            found[tuple(names)].append((measure, count))
        return [(list(names), rows) for names, rows in found.items()]

    def _matrix(self, names: list[str], rows: list[Row]) -> str:
        lines = [["median", "N", *names, "spread"]]
        for row in rows:
            cells = [shown(row[0], self.median(name, *row) or 0.0) for name in names]
            spread = f"{100 * self._spread(names, *row):.0f} %"
            lines.append([row[0], f"{row[1]:,}", *cells, spread])
        return columns(lines)

    def _ratios(self, other: str, bases: Mapping[str, str], rows: list[Row]) -> str:
        lines = [[f"÷ {other}", "N", *bases]]
        for row in rows:
            cells = [self._ratio(name, base, row) for name, base in bases.items()]
            if any(cells):
                lines.append([row[0], f"{row[1]:,}", *cells])
        return columns(lines)

    def _ratio(self, name: str, base: str, row: Row) -> str:
        value, divisor = self.median(name, *row) or 0.0, self.median(base, *row) or 0.0
        least = NOTHING if row[0].startswith(MAYBE_NOTHING) else 0
        return f"{value / divisor:.2f}" if divisor > least else ""

    def _spread(self, names: list[str], measure: str, count: int) -> float:
        """Return the middle half of the rounds, as a part of the median; the worst of all."""
        found = [self.values[name, measure, count] for name in names]
        return max(_middle_half(values) / (statistics.median(values) or 1) for values in found)


def base_of(name: str, other: str, names: Sequence[str], labels: Sequence[str]) -> str | None:
    """Return the column of `other` that a contestant is compared to: of its own package, if any."""
    own = [label for label in labels if name.endswith(f" {label}")]
    columns = [other, *(f"{other} {label}" for label in [*own, *labels])]
    return next((column for column in columns if column in names), None)


def _middle_half(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    return quartiles[2] - quartiles[0]


def shown(measure: str, value: float) -> str:
    """Write a value with the unit that its measure has."""
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
    """Write a number with the digits that count."""
    places = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{places}f}"


def columns(lines: list[list[str]]) -> str:
    """Set rows in columns; the first one is words."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rows = []
    for line in lines:
        first, *rest = [(cell, width) for cell, width in zip(line, widths, strict=True)]
        cells = [f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in rest)]
        rows.append("  ".join(cells).rstrip())
    return "\n".join(rows)
