"""A poll function for each client, beside a plain stream that is sent a message as often."""

from __future__ import annotations

from contextlib import ExitStack

from .apps.ours import INTERVAL
from .contestant import message
from .ours import HandOff, Poll
from .run import Run
from .streaming import Streaming, streaming

CLIENTS = 500
#: How many values each client is sent in a round.
VALUES = 5


def polling(run: Run) -> None:
    """One after the other, as polls do not wait for their turn."""
    for number in range(run.rounds):
        for kind in run.turns(run.chosen(HandOff, Poll), number):
            with ExitStack() as stack:
                contestant = run.start(kind, stack)
                run.tell(f"{kind.name}: {CLIENTS:,} clients poll, round {number + 1}")
                opened = streaming(contestant, CLIENTS, results=run.results)
                _measure(stack.enter_context(opened), run)


def _measure(one: Streaming, run: Run) -> None:
    one.load.reset()
    cpu = one.contestant.cpu()
    for number in range(VALUES):
        one.contestant.publish([("one", message(number))])
        one.load.run(INTERVAL)
    cpu, figures = one.contestant.cpu() - cpu, one.load.figures()
    name = one.contestant.name
    if figures.errors or figures.messages < CLIENTS * (VALUES - 1):
        raise RuntimeError(f"{name}: {figures.messages} values, {dict(figures.errors)}.")
    run.results.add(name, "CPU per delivery, every second", CLIENTS, cpu / figures.messages)
