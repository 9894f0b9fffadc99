"""SUBSCRIBE commands in flight on one connection."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_redis_events.channels import Channel
from flask_redis_events.reader.acknowledgements import Acknowledgements
from tests.support.factories import channels

A, B = channels("a", "b")


@pytest.fixture
def acknowledgements() -> Acknowledgements:
    """Return the commands of a connection that was asked for channel a."""
    acknowledgements = Acknowledgements()
    acknowledgements.begin([A])
    return acknowledgements


# --- answers ----------------------------------------------------------------------------------


def test_the_answer_to_the_only_command_counts(acknowledgements):
    """A channel that was asked for once is acknowledged by the first answer."""
    assert acknowledgements.answered(A)


@pytest.mark.parametrize("times", [2, 3])
def test_only_the_last_of_several_answers_counts(acknowledgements, times):
    """A channel that was left and joined again is acknowledged by the answer to the last join."""
    for _ in range(times - 1):
        acknowledgements.intend([A], subscribe=False)
        acknowledgements.intend([A], subscribe=True)
    answers = [acknowledgements.answered(A) for _ in range(times)]

    assert answers == [False] * (times - 1) + [True]


def test_each_channel_counts_its_own_answers(acknowledgements):
    """An answer for one channel says nothing of another one."""
    acknowledgements.intend([A, B], subscribe=True)
    answers = [acknowledgements.answered(channel) for channel in (A, B, A)]

    assert answers == [False, True, True]


def test_a_pattern_is_another_channel(acknowledgements):
    """A pattern and a name of the same text are answered apart, as they are two commands."""
    pattern = Channel("a", pattern=True)
    acknowledgements.intend([pattern], subscribe=True)

    assert acknowledgements.answered(A)
    assert acknowledgements.answered(pattern)


def test_giving_up_a_channel_is_not_answered(acknowledgements):
    """The answer to the SUBSCRIBE is the last one, though an UNSUBSCRIBE is under way."""
    acknowledgements.intend([A], subscribe=False)

    assert acknowledgements.answered(A)


def test_a_channel_that_was_answered_begins_anew(acknowledgements):
    """A channel that is asked for again waits for one answer, and not for earlier ones."""
    acknowledgements.answered(A)
    acknowledgements.intend([A], subscribe=True)
    acknowledgements.intend([A], subscribe=True)

    assert [acknowledgements.answered(A), acknowledgements.answered(A)] == [False, True]


def test_an_answer_that_nobody_waits_for_is_owed_to_nobody(acknowledgements):
    """An answer beyond those that were asked for does not stand for a later one."""
    acknowledgements.answered(B)
    acknowledgements.intend([B], subscribe=True)
    acknowledgements.intend([B], subscribe=True)

    assert [acknowledgements.answered(B), acknowledgements.answered(B)] == [False, True]


@pytest.mark.parametrize("subscribe", [True, False])
def test_a_command_takes_back_what_was_said_of_its_channels(acknowledgements, subscribe):
    """A channel that is asked for, or given up, is neither granted nor refused any more."""
    acknowledgements.granted.update({A: 1.0, B: 2.0})
    acknowledgements.refused.update([A, B])
    acknowledgements.intend([A], subscribe=subscribe)

    assert acknowledgements.granted == {B: 2.0}
    assert acknowledgements.refused == {B}


def test_a_new_connection_begins_anew(acknowledgements):
    """Nothing of the last connection holds: no command, no answer, no grant, no refusal."""
    acknowledgements.intend([A], subscribe=True)
    acknowledgements.granted[B] = 1.0
    acknowledgements.refused.add(B)
    acknowledgements.begin([A, B])

    assert list(acknowledgements.commands()) == []
    assert (acknowledgements.granted, acknowledgements.refused) == ({}, set())
    assert acknowledgements.answered(A)
    assert acknowledgements.answered(B)


# --- commands ---------------------------------------------------------------------------------


def test_the_first_command_that_waits_says_so(acknowledgements):
    """One sending is enough for all commands that wait; the next one is for those after it."""
    first = [acknowledgements.intend([channel], subscribe=True) for channel in (A, B)]
    list(acknowledgements.commands())
    then = acknowledgements.intend([A], subscribe=False)

    assert first == [True, False]
    assert then


def test_commands_of_a_kind_are_sent_as_one(acknowledgements):
    """Neighbouring commands of one kind are joined, and keep their order with the others."""
    acknowledgements.intend([A], subscribe=True)
    acknowledgements.intend([B], subscribe=True)
    acknowledgements.intend([A], subscribe=False)
    acknowledgements.intend([A], subscribe=True)

    assert list(acknowledgements.commands()) == [(True, [A, B]), (False, [A]), (True, [A])]
    assert list(acknowledgements.commands()) == []


INTENTS = st.lists(
    st.tuples(st.booleans(), st.lists(st.sampled_from([A, B]), min_size=1, max_size=2, unique=True))
)


@given(INTENTS)
def test_commands_keep_order_and_are_as_few_as_can_be(intents):
    """What is sent is what was intended, in order, and never two commands of a kind in a row."""
    acknowledgements = Acknowledgements()
    for subscribe, some in intents:
        acknowledgements.intend(some, subscribe=subscribe)
    commands = list(acknowledgements.commands())

    def steps(groups: list[tuple[bool, list[Channel]]]) -> list[tuple[bool, Channel]]:
        return [(subscribe, channel) for subscribe, some in groups for channel in some]

    assert steps(commands) == steps(intents)
    assert all(one[0] != other[0] for one, other in itertools.pairwise(commands))


@given(INTENTS)
def test_a_channel_is_acknowledged_after_all_its_commands(intents):
    """As many answers as SUBSCRIBE commands acknowledge a channel, whatever else was intended."""
    acknowledgements = Acknowledgements()
    acknowledgements.begin([A])
    for subscribe, some in intents:
        acknowledgements.intend(some, subscribe=subscribe)
    under_way = 1 + sum(subscribe and A in some for subscribe, some in intents)
    answers = [acknowledgements.answered(A) for _ in range(under_way)]

    assert answers == [False] * (under_way - 1) + [True]
