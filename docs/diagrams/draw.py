"""Draw the pictures of the pages: `python docs/diagrams/draw.py` writes the SVG files beside it.

A box has a fill of its own and dark text; the lines and labels outside of boxes have a grey that
can be read on a light page and on a dark one.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

Point = tuple[float, float]

HERE = Path(__file__).parent
FILLS = {"app": "#cfe3ff", "redis": "#ffd9d2", "browser": "#d5f0d3", "code": "#f3e3bd"}
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1b1f24}.label{fill:#7d848c}.strong{font-weight:600}"
    "path{stroke:#7d848c;stroke-width:1.5;fill:none}rect{stroke:#7d848c}"
)
ARROW = (
    '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M1 1 7 4 1 7"/></marker></defs>'
)


class Picture:
    """Boxes, arrows between them, and labels, on a grid of pixels."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(title)}</title><style>{STYLE}</style>",
            ARROW,
        ]

    def box(self, x: int, y: int, width: int, lines: Sequence[str], kind: str) -> None:
        """Draw a box; its first line is strong."""
        height = 14 + 18 * len(lines)
        rect = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6"'
        self._parts.append(f'{rect} fill="{FILLS[kind]}"/>')
        for number, line in enumerate(lines):
            style = ' class="strong"' if number == 0 else ""
            at = f'x="{x + width / 2}" y="{y + 21 + 18 * number}" text-anchor="middle"'
            self._parts.append(f"<text {at}{style}>{escape(line)}</text>")

    def arrow(self, *points: Point) -> None:
        path = " ".join(f"{x} {y}" for x, y in points)
        self._parts.append(f'<path d="M{path}" marker-end="url(#a)"/>')

    def label(self, x: int, y: int, text: str, anchor: str = "start") -> None:
        at = f'x="{x}" y="{y}" text-anchor="{anchor}" class="label"'
        self._parts.append(f"<text {at}>{escape(text)}</text>")

    def save(self, name: str) -> None:
        (HERE / name).write_text("\n".join([*self._parts, "</svg>\n"]), "utf-8")


def overview() -> None:
    picture = Picture(720, 560, "From emit to the browser")
    picture.box(10, 20, 190, ["any process", "emit(channel, data)"], "app")
    picture.box(
        300,
        10,
        400,
        ["Redis: publish.lua", "clock → id and prev · XADD history · PUBLISH"],
        "redis",
    )
    picture.arrow((200, 45), (300, 36))
    picture.label(10, 128, "every web worker:")
    picture.box(300, 110, 400, ["reader", "one greenlet on one connection of its own"], "app")
    picture.arrow((500, 60), (500, 110))
    picture.box(300, 200, 400, ["sequence", "is the message new, is one missing?"], "app")
    picture.arrow((500, 160), (500, 200))
    picture.box(300, 290, 400, ["audience", "all clients of the same channels"], "app")
    picture.arrow((500, 250), (500, 290))
    picture.label(10, 352, "offer(batch): never blocks, never raises")
    picture.box(10, 390, 300, ["producer", "application code, with an inbox"], "code")
    picture.box(400, 390, 300, ["subscription", "of one client"], "app")
    picture.arrow((360, 340), (160, 390))
    picture.arrow((500, 340), (550, 390))
    picture.arrow((310, 415), (400, 415))
    picture.label(355, 407, "offer", "middle")
    picture.box(300, 490, 250, ["socket writer", "the hub writes the socket"], "app")
    picture.arrow((550, 440), (460, 490))
    picture.box(600, 500, 100, ["browser"], "browser")
    picture.arrow((550, 516), (600, 516))
    picture.save("overview.svg")


def page() -> None:
    picture = Picture(720, 250, "A page receives every event that its state does not have")
    steps = [
        ("1 position", "events.position()", "redis"),
        ("2 query", "SELECT …", "app"),
        ("3 render", "since: position", "app"),
        ("4 stream", "from the position on", "browser"),
    ]
    for number, (name, text, kind) in enumerate(steps):
        x = 80 + 165 * number
        picture.box(x, 20, 140, [name, text], kind)
        if number:
            picture.arrow((x - 25, 45), (x, 45))
    picture.arrow((10, 120), (710, 120))
    picture.label(710, 112, "time", "end")
    for x, text, where in (
        (45, "emitted here:", "in the query"),
        (232, "here:", "in both; shown once"),
        (397, "here, and later:", "in the stream"),
    ):
        picture.arrow((x, 150), (x, 123))
        picture.label(x, 168, text, "middle")
        picture.label(x, 186, where, "middle")
    picture.label(10, 228, "No event is in neither, because the position is older than the query.")
    picture.save("page.svg")


def deployment() -> None:
    picture = Picture(720, 260, "Any process emits; any worker serves any browser")
    for number in range(3):
        picture.box(10, 20 + 70 * number, 110, ["browser"], "browser")
        picture.arrow((200, 110), (120, 36 + 70 * number))
    picture.box(200, 85, 100, ["proxy", "HTTP/2"], "app")
    for number in range(2):
        y = 35 + 110 * number
        picture.box(370, y, 130, ["worker", "gunicorn, gevent"], "app")
        picture.arrow((370, y + 25), (300, 110))
        picture.arrow((570, 110), (500, y + 25))
    picture.box(570, 85, 140, ["Redis", "ids and history"], "redis")
    picture.box(570, 190, 140, ["job, shell, cron", "Emitter"], "code")
    picture.arrow((640, 190), (640, 135))
    picture.label(10, 248, "Arrows show the way of events.")
    picture.save("deployment.svg")


if __name__ == "__main__":
    overview()
    page()
    deployment()
