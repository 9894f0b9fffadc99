"""`python -m tests.benchmarks [--quick] [--only fanout,…] [--package before=DIR] [--plots]`."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.processes import ROOT
from tests.support.servers import RedisServer

from . import competitors, machine, pages
from .channels import channels
from .emitting import emitting
from .fanout import fanout
from .flooding import flooding
from .idling import idling
from .others import FlaskSSE, Limit
from .ours import HandOff, Package
from .patterns import patterns
from .polling import polling
from .presence import presence
from .results import Results
from .resuming import resuming
from .run import Run, available
from .stalling import stalling

#: What there is to measure, in this order.
MEASUREMENTS: dict[str, Callable[[Run], None]] = {
    "emitting": emitting,
    "resuming": resuming,
    "patterns": patterns,
    "channels": channels,
    "fanout": fanout,
    "polling": polling,
    "flooding": flooding,
    "idling": idling,
    "presence": presence,
    "stalling": stalling,
}
#: Where the documentation has its tables and plots.
PAGES = ROOT / "docs" / "performance"
#: More than the load average of an idle machine.
BUSY = 0.5


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.plots and not (arguments.show or arguments.output):
        parser.error("--plots needs the file that --output or --show names.")
    if arguments.plots and arguments.package:
        parser.error("--plots draws this tree, and no --package.")
    if not arguments.show and len(os.sched_getaffinity(0)) < 2:
        parser.error("this needs two cores: one for the server, one for everybody else.")
    if arguments.show:
        results = Results.load(arguments.show)
    else:
        results = measure(arguments)
    print(results.table(to=[Limit.name, HandOff.name, FlaskSSE.name]))
    if arguments.plots:
        pages.write(results, PAGES)
        draw(arguments.show or arguments.output)
    return 0


def measure(arguments: argparse.Namespace) -> Results:
    """Measure what was asked for."""
    # Debian's: what is deployed, with the allocator that it is deployed with.
    if binary := shutil.which("redis-server"):
        os.environ.setdefault("TEST_REDIS_BINARY", binary)
    chosen = arguments.only or list(MEASUREMENTS)
    about = machine.description()
    if about["load"] > BUSY:
        print(f"The machine is busy: load average {about['load']:.2f}.", file=sys.stderr)
    competitors.environment()
    machine.connections()
    machine.pin()
    rounds = arguments.rounds or (2 if arguments.quick else 5)
    with RedisServer(arguments=["--maxclients", "60000"]) as redis:
        who = available(arguments.who, arguments.package)
        run = Run(redis, rounds, arguments.quick, who)
        run.results.about = {**about, **machine.versions(redis), "rounds": rounds}
        run.results.about["packages"] = {
            package.label: machine.commit(package.directory) for package in arguments.package
        }
        for name in chosen:
            MEASUREMENTS[name](run)
            if arguments.output:
                run.results.save(arguments.output)
    return run.results


def draw(results: Path) -> None:
    """Draw the plots; matplotlib is in the others' environment."""
    command = [str(competitors.environment()), "-m", "tests.benchmarks.plots"]
    subprocess.run([*command, str(results.resolve()), str(PAGES)], cwd=ROOT, check=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    add = parser.add_argument
    add("--quick", action="store_true", help="less of everything, in ten minutes")
    add("--only", type=_names, metavar="NAME,…", help=f"of {', '.join(MEASUREMENTS)}")
    add(
        "--who",
        type=_words,
        default=[],
        metavar="NAME,…",
        help="who takes part (all): a contestant's name, or how names begin",
    )
    add(
        "--package",
        type=_package,
        action="append",
        default=[],
        metavar="LABEL=DIR",
        help="let our servers run the package of this checkout, and label its rows; several"
        " (before=../old after=.) are measured in turn in each round, and compared to the first."
        " The load, and the emitter that `emitting` measures, are always this tree's",
    )
    add("--rounds", type=int, metavar="N", help="how often (5, quick: 2)")
    add("--output", type=Path, metavar="FILE", help="write JSON")
    add("--show", type=Path, metavar="FILE", help="show what was written, and measure nothing")
    add("--plots", action="store_true", help="write the documentation's tables and plots")
    return parser


def _package(text: str) -> Package:
    label, found, directory = text.partition("=")
    package = Package(label, Path(directory).resolve())
    if not (label and found and (package.directory / "flask_redis_events").is_dir()):
        raise argparse.ArgumentTypeError(f"{text!r} is not LABEL=DIR, with a package in DIR")
    return package


def _words(text: str) -> list[str]:
    return text.split(",")


def _names(text: str) -> list[str]:
    names = _words(text)
    if unknown := set(names) - set(MEASUREMENTS):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
