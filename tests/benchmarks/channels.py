"""A thousand clients on one channel, or on a thousand: what many channels cost."""

from __future__ import annotations

from contextlib import ExitStack

from .others import FlaskSSE, Nchan
from .ours import Generator, HandOff
from .run import Run
from .streaming import streaming

CLIENTS = 1000
COUNTS = (1, 10, 100, 1000)


def channels(run: Run) -> None:
    """Publish one message to each channel, together: as many deliveries, of more messages."""
    for count in (1, 1000) if run.quick else COUNTS:
        names = [f"many-{number}" for number in range(count)]
        with ExitStack() as stack:
            field = []
            for kind in run.chosen(Generator, HandOff, FlaskSSE, Nchan):
                contestant = run.start(kind, stack)
                run.tell(f"{contestant.name}: opening {CLIENTS:,} on {count:,} channels")
                opened = streaming(contestant, CLIENTS, channels=names)
                field.append(stack.enter_context(opened))
            for number in range(run.rounds):
                for one in run.turns(field, number):
                    run.tell(f"{one.contestant.name}: {count:,} channels, round {number + 1}")
                    cpu, figures = one.deliver(12, 1)
                    run.results.add(
                        one.contestant.name,
                        "CPU per delivery, by channels",
                        count,
                        cpu / figures.messages,
                    )
