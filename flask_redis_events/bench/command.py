"""The `bench` command: its arguments, its output and its exit status."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from . import limits
from .figures import Figures
from .load import Load
from .progress import Progress
from .target import Target

EPILOG = """\
The latency of a message is measured if its data has the time at which it was emitted:
{"t": <seconds, Unix or monotonic>}, as in events.emit("orders", {"t": time.time()}).
Other messages are only counted.
"""


def main(argv: Sequence[str]) -> int:
    """Run `bench`; return the exit status: 1 if a stream failed, 2 if the load cannot begin."""
    arguments = _parser().parse_args(argv)
    try:
        targets = [Target.of(url, arguments.header) for url in arguments.url]
    except (OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    room = limits.allow_files(arguments.clients)
    if room < arguments.clients:
        print(f"bench: only {room} streams can be open: raise `ulimit -n`.", file=sys.stderr)
        return 2
    figures = _measure(targets, arguments, Progress())
    print(figures.as_json() if arguments.json else figures.as_table())
    return 0 if figures.opened == figures.clients and not figures.errors else 1


def _measure(targets: list[Target], arguments: argparse.Namespace, progress: Progress) -> Figures:
    """Open the streams, count, and return the figures; Ctrl-C ends both early, with figures."""
    wanted = arguments.clients
    with Load(
        *targets,
        last_event_ids=arguments.last_event_id,
        reconnect=not arguments.no_reconnect,
    ) as load:

        def opening() -> None:
            progress.draw("opening", load.open / wanted, f"{load.open:,}/{wanted:,}")

        def counting() -> None:
            seconds = time.monotonic() - started
            text = (
                f"{seconds:.0f}/{arguments.seconds:.0f} s  {load.messages:,} messages"
                f"  {load.messages / max(seconds, 0.001):,.0f}/s  {load.open:,} open"
            )
            progress.draw("counting", seconds / arguments.seconds, text)

        try:
            load.connect(wanted, rate=arguments.rate, timeout=arguments.timeout, tell=opening)
            started = time.monotonic()
            load.run(arguments.seconds, until=lambda: load.over, tell=counting)
        except KeyboardInterrupt:
            pass
        progress.clear()
        return load.figures()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flask_redis_events bench",
        description="Open streams as many browsers would, and count their messages.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("url", metavar="URL", nargs="+", help="a stream's address: http://host:port/path")
    add("-c", "--clients", type=_count, default=100, metavar="N", help="streams to open (100)")
    add("--seconds", type=_seconds, default=10.0, metavar="S", help="seconds to count for (10)")
    add("--rate", type=_seconds, metavar="R", help="streams to open a second (no limit)")
    add("--timeout", type=_seconds, default=60.0, metavar="S", help="seconds to open them in (60)")
    add("-H", "--header", action="append", default=[], metavar="LINE", help="a request header")
    add("--last-event-id", action="append", default=[], metavar="ID", help="the id to resume from")
    add("--no-reconnect", action="store_true", help="do not reopen streams that end")
    add("--json", action="store_true", help="print JSON")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError("must be more than 0")
    return number
