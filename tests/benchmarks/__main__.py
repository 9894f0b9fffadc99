"""`python -m tests.benchmarks [--quick] [--only fanout,…] [--plots]`."""

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
from .contestants import FlaskSSE, Limit
from .emitting import emitting
from .fanout import fanout
from .idling import idling
from .results import Results
from .resuming import resuming
from .run import Run, available

#: All measurements, in the order in which they run.
MEASUREMENTS: dict[str, Callable[[Run], None]] = {
    "emitting": emitting,
    "resuming": resuming,
    "channels": channels,
    "fanout": fanout,
    "idling": idling,
}
#: The directory of the documentation's tables and plots.
PAGES = ROOT / "docs" / "performance"
#: The load average above which the machine is not idle enough.
BUSY = 0.5


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.plots and not (arguments.show or arguments.output):
        parser.error("--plots needs a file: add --output FILE or --show FILE.")
    if not arguments.show and len(os.sched_getaffinity(0)) < 2:
        parser.error("the benchmarks need two cores: one for the server, one for all others.")
    if arguments.show:
        results = Results.load(arguments.show)
    else:
        results = measure(arguments)
    print(results.table(to=[Limit.name, FlaskSSE.name]))
    if arguments.plots:
        pages.write(results, PAGES)
        draw(arguments.show or arguments.output)
    return 0


def measure(arguments: argparse.Namespace) -> Results:
    """Run the measurements that the arguments name."""
    # Debian's Redis if there is one, because that is what is deployed, with its allocator.
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
        run = Run(redis, rounds, arguments.quick, available(arguments.who))
        run.results.about = {**about, **machine.versions(redis), "rounds": rounds}
        for name in chosen:
            MEASUREMENTS[name](run)
            if arguments.output:
                run.results.save(arguments.output)
    return run.results


def draw(results: Path) -> None:
    """Draw the plots, in the environment of the other projects, which has matplotlib."""
    command = [str(competitors.environment()), "-m", "tests.benchmarks.plots"]
    subprocess.run([*command, str(results.resolve()), str(PAGES)], cwd=ROOT, check=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer measurements, in two minutes")
    add("--only", type=_names, metavar="NAME,…", help=f"some of {', '.join(MEASUREMENTS)}")
    add("--who", type=_words, default=[], metavar="NAME,…", help="contestants (all)")
    add("--rounds", type=int, metavar="N", help="rounds of each measurement (5, quick: 2)")
    add("--output", type=Path, metavar="FILE", help="write the results as JSON")
    add("--show", type=Path, metavar="FILE", help="show written results, and measure nothing")
    add("--plots", action="store_true", help="write the documentation's tables and plots")
    return parser


def _words(text: str) -> list[str]:
    return text.split(",")


def _names(text: str) -> list[str]:
    names = _words(text)
    if unknown := set(names) - set(MEASUREMENTS):
        raise argparse.ArgumentTypeError(
            f"there is no {', '.join(unknown)}; choose from {', '.join(MEASUREMENTS)}"
        )
    return names


if __name__ == "__main__":
    sys.exit(main())
