"""What waits for one client."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_redis_events.clients.backlog import Backlog
from flask_redis_events.wire import BEGINNING, Batch, Message, Position, control
from flask_redis_events.wire.control import Loss
from tests.support.factories import batch, foreign, message, sent

#: The bytes of one message that the factories make.
ONE = batch(1).size


def messages(batches: list[Batch]) -> list[Message]:
    """Return all messages of batches, in order."""
    return [one for batch in batches for one in batch.messages]


def numbers(batches: list[Batch]) -> list[int]:
    """Return the numbers of all messages, in order."""
    return [one.id.ms for one in messages(batches) if one.id]


def losses(batches: list[Batch]) -> list[Loss]:
    return [batch for batch in batches if isinstance(batch, Loss)]


def full_of(overflow: str, *numbers: int, room: int) -> Backlog:
    """Return a backlog for so many messages, after messages were put into it one by one."""
    backlog = Backlog(ONE * room, overflow)
    for number in numbers:
        backlog.put(batch(number))
    return backlog


# --- putting and taking -----------------------------------------------------------------------


def test_batches_are_taken_in_the_order_in_which_they_were_put():
    """A backlog keeps the very batches, messages and control frames alike, in order."""
    backlog = Backlog(1000, "close")
    put = [batch(1), control.heartbeat(Position(1)), batch(2, 3)]
    backlog.put(put[0])
    backlog.append(put[1])
    backlog.put(put[2])

    assert (bool(backlog), backlog.size) == (True, 3 * ONE)
    assert backlog.take() == put
    assert (bool(backlog), backlog.size, backlog.take()) == (False, 0, [])


def test_an_empty_backlog_is_false():
    """A backlog is true while something waits in it, if only a control frame."""
    backlog = Backlog(1000, "close")
    empty = bool(backlog)
    backlog.append(control.heartbeat(None))

    assert not empty
    assert backlog


@pytest.mark.parametrize("overflow", ["close", "drop", "latest"])
def test_control_frames_do_not_count(overflow):
    """Control frames wait however full the backlog is, and leave the messages their room."""
    backlog = full_of(overflow, 1, 2, room=2)
    for _ in range(100):
        backlog.append(control.reset("trimmed"))
        backlog.put(control.reset("trimmed"))

    assert backlog.size == 2 * ONE
    assert numbers(backlog.take()) == [1, 2]


@pytest.mark.parametrize("overflow", ["close", "drop", "latest"])
def test_one_large_batch_waits_alone(overflow):
    """A batch that is larger than the limit waits where no other message does."""
    backlog = Backlog(ONE, overflow)
    backlog.append(control.heartbeat(None))

    assert backlog.put(batch(1, 2, 3)) == 0
    assert numbers(backlog.take()) == [1, 2, 3]


@pytest.mark.parametrize(
    "waiting, half_full",
    [
        pytest.param([], False, id="empty"),
        pytest.param([1, 2], False, id="half"),
        pytest.param([1, 2, 3], True, id="more than half"),
        pytest.param([1, 2, 3, 4], True, id="full"),
    ],
)
def test_a_source_waits_while_more_than_half_is_full(waiting, half_full):
    """A backlog is half full when its messages fill more than half of its limit."""
    assert full_of("close", *waiting, room=4).half_full is half_full


# --- parts ------------------------------------------------------------------------------------


def test_a_part_is_what_fits():
    """Batches are taken as long as they fit together; what is left counts, and waits."""
    backlog = full_of("close", 1, 2, 3, room=3)
    first = backlog.take(2 * ONE + 1)

    assert numbers(first) == [1, 2]
    assert backlog.size == ONE
    assert numbers(backlog.take(2 * ONE)) == [3]
    assert not backlog


def test_a_batch_larger_than_a_part_is_one_by_itself():
    """At least one batch is taken, however large it is, and then nothing beside it."""
    backlog = Backlog(ONE, "close")
    backlog.begin([batch(1, 2), batch(3)], None)
    backlog.put(batch(4))

    assert [numbers(backlog.take(1)) for _ in range(3)] == [[1, 2], [3], [4]]


def test_history_is_made_as_it_is_taken():
    """Of a history that waits, no more is made than the part that comes next."""
    made = []

    def history():
        for number in range(1, 10):
            made.append(number)
            yield batch(number)

    backlog = Backlog(10 * ONE, "close")
    backlog.begin(history(), Position(9))
    before = list(made)
    taken = backlog.take(2 * ONE)

    assert before == [1]
    assert numbers(taken) == [1, 2]
    assert made == [1, 2, 3]


@pytest.mark.parametrize("overflow", ["drop", "latest"])
def test_no_history_is_dropped(overflow):
    """A client that does not read loses live messages; a `reset` follows its history."""
    backlog = Backlog(4 * ONE, overflow)
    backlog.begin([batch(1, 2, 3, 4), batch(5, 6)], Position(6))
    for number in range(7, 12):
        backlog.put(batch(number))
    taken = backlog.take()

    assert numbers(taken) == [1, 2, 3, 4, 5, 6, 10, 11]
    assert [loss.until for loss in losses(taken[2:3])] == [Position(9)]


# --- overflow ---------------------------------------------------------------------------------


def test_a_full_backlog_that_closes_says_so():
    """With `close`, a message beyond the limit is answered with None, and nothing is dropped."""
    backlog = full_of("close", 1, 2, room=2)

    assert backlog.put(batch(3)) is None
    assert losses(backlog.take()) == []


def test_a_full_backlog_drops_its_oldest():
    """With `drop`, the newest messages stay that fit into half of the limit, after a `reset`."""
    backlog = full_of("drop", 1, 2, 3, 4, room=4)
    dropped = backlog.put(batch(5))
    taken = backlog.take()

    assert dropped == 3
    assert sent(taken[:1]) == b'id: 3-0\nevent: reset\ndata: {"reason":"overflow"}\n\n'
    assert numbers(taken[1:]) == [4, 5]


def test_a_batch_may_be_dropped_in_part():
    """Messages are dropped one by one, also where they came as one batch."""
    backlog = full_of("drop", 1, room=4)
    dropped = backlog.put(batch(2, 3, 4, 5))

    assert dropped == 3
    assert numbers(backlog.take()) == [4, 5]


def test_one_reset_tells_of_all_that_was_dropped():
    """A backlog that overflows again moves its `reset` on, and does not add another one."""
    backlog = full_of("drop", *range(1, 20), room=4)
    taken = backlog.take()

    assert [loss.until for loss in losses(taken)] == [Position(numbers(taken)[0] - 1)]


def test_what_was_taken_is_over():
    """A `reset` that was taken does not come again when superseded messages make room."""
    backlog = full_of("latest", 1, 2, 3, 4, 5, room=4)
    first = backlog.take()
    for number in range(5, 10):
        backlog.put(Batch([message(number, key="a")]))
    then = backlog.take()

    assert (len(losses(first)), numbers(first)) == (1, [4, 5])
    assert (len(losses(then)), numbers(then)) == (0, [9])


def test_the_newest_of_each_key_is_kept_in_silence():
    """With `latest`, messages whose key has a newer message go first, which is no loss."""
    backlog = Backlog(4 * ONE, "latest")
    dropped = [backlog.put(Batch([message(n, key=f"k{n % 2}")])) for n in range(1, 6)]
    taken = backlog.take()

    assert dropped == [0] * 5
    assert losses(taken) == []
    assert numbers(taken) == [4, 5]


def test_a_message_without_a_key_is_superseded_by_nothing():
    """With `latest`, a message without a key stays while superseded messages make room."""
    backlog = Backlog(4 * ONE, "latest")
    for number, key in enumerate([None, "a", "a", "a", "a"], 1):
        backlog.put(Batch([message(number, key=key)]))

    assert numbers(backlog.take()) == [1, 5]


def test_where_no_key_makes_room_the_oldest_are_dropped():
    """With `latest`, too many keys are too many messages: the oldest go, and a `reset` says so."""
    backlog = Backlog(4 * ONE, "latest")
    dropped = [backlog.put(Batch([message(n, key=f"k{n}")])) for n in range(1, 6)]
    taken = backlog.take()

    assert dropped == [0, 0, 0, 0, 3]
    assert [loss.until for loss in losses(taken)] == [Position(3)]
    assert numbers(taken) == [4, 5]


def test_control_frames_outlive_what_is_dropped():
    """Control frames that waited among dropped messages come in order before those that are left.

    The frame that tells of the dropped messages comes first.
    """
    trimmed, forked = control.reset("trimmed"), control.reset("forked")
    backlog = full_of("drop", 1, 2, room=4)
    backlog.append(trimmed)
    backlog.put(batch(3))
    backlog.append(forked)
    backlog.put(batch(4, 5))
    taken = backlog.take()

    assert losses(taken[:1])
    assert taken[1:3] == [trimmed, forked]
    assert numbers(taken[3:]) == [4, 5]


# --- the beginning ----------------------------------------------------------------------------


def test_history_comes_before_what_was_held():
    """A client that begins gets its history first, then the messages that are newer."""
    backlog = full_of("close", 2, 3, 4, room=4)
    backlog.begin([batch(1, 2), batch(3)], Position(3))

    assert numbers(backlog.take()) == [1, 2, 3, 4]


def test_without_a_floor_all_that_was_held_is_new():
    """A client that begins where there are no ids gets all that came for it meanwhile."""
    backlog = Backlog(1000, "close")
    backlog.put(Batch([foreign("a")]))
    backlog.begin([], None)

    assert [one.value for one in messages(backlog.take())] == ["a"]


def test_messages_without_ids_are_in_no_history():
    """A message without an id that came while a client was held is sent, whatever the floor."""
    backlog = Backlog(1000, "close")
    backlog.put(Batch([message(1), foreign("a"), message(2)]))
    backlog.begin([], Position(5))

    assert [one.value for one in messages(backlog.take())] == ["a"]


def test_history_does_not_count():
    """A history that is larger than the limit leaves the messages that follow it their room."""
    backlog = full_of("close", 7, 8, room=2)
    backlog.begin([batch(1, 2, 3, 4), batch(5, 6, 7)], Position(7))

    assert backlog.size == ONE
    assert backlog.put(batch(9)) == 0
    assert numbers(backlog.take()) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_empty_batches_are_no_history():
    """A callback may make nothing of a batch, and then nothing waits."""
    backlog = Backlog(1000, "close")
    backlog.begin([Batch(), Batch()], Position(5))

    assert not backlog


def test_a_reset_that_history_makes_needless_does_not_come_back():
    """A `reset` of messages that the history has is gone, also when messages make room later."""
    backlog = full_of("latest", 1, 2, 3, 4, 5, room=5)
    backlog.put(batch(6))
    backlog.begin([batch(6)], Position(6))
    for number in range(7, 12):
        backlog.put(Batch([message(number, key="a")]))
    taken = backlog.take()

    assert losses(taken) == []
    assert numbers(taken) == [6, 11]


def test_control_frames_that_were_held_are_sent():
    """A control frame that came while a client was held follows its history."""
    backlog = Backlog(1000, "close")
    reset = control.reset("trimmed")
    backlog.append(reset)
    backlog.begin([batch(1)], Position(1))

    assert backlog.size == 0
    assert backlog.take()[1:] == [reset]


@pytest.mark.parametrize(
    "floor, restart, told",
    [
        pytest.param(7, None, True, id="the client begins before the last lost message"),
        pytest.param(8, None, False, id="the client begins at the last lost message"),
        pytest.param(9, None, False, id="the client begins after it"),
        pytest.param(None, None, True, id="the client has no position"),
        pytest.param(9, 3, True, id="a position of the old clock is beyond the new one"),
        pytest.param(4, 3, True, id="a position beyond the new clock may be of the old one"),
        pytest.param(3, 3, False, id="a position that was read from the new clock"),
        pytest.param(None, 3, False, id="no position that could be of the old clock"),
    ],
)
def test_a_loss_is_told_to_a_client_that_begins_before_it(floor, restart, told):
    """A loss that came while a client was held is judged by the floor at which it begins."""
    backlog = Backlog(1000, "close")
    loss = Loss("trimmed", Position(8), restart=None if restart is None else Position(restart))
    backlog.append(loss)
    backlog.begin([], None if floor is None else Position(floor))

    assert backlog.take() == [loss] * told


# --- a model ----------------------------------------------------------------------------------


#: Messages that are put together: the length of each text, and its key.
Texts = list[tuple[int, str | None]]
TEXTS = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from([None, "a", "b", "c"])), min_size=1, max_size=4
)
PUTS = st.lists(TEXTS, min_size=1, max_size=12)
LIMITS = st.integers(1, 400)


def made(puts: list[Texts]) -> list[Batch]:
    """Return batches of messages numbered from 1, with texts of these lengths and these keys."""
    number = itertools.count(1)
    return [
        Batch([message(next(number), "x" * length, key=key) for length, key in texts])
        for texts in puts
    ]


def superseded(old: Message, put: list[Message]) -> bool:
    """Say whether a message that was put later has the same key."""
    return old.key is not None and old.key in [one.key for one in put[put.index(old) + 1 :]]


@given(LIMITS, PUTS)
def test_a_backlog_that_closes_takes_all_up_to_its_limit(limit, puts):
    """With `close`, a batch is taken unless it and the messages that wait exceed the limit."""
    backlog, taken, waiting = Backlog(limit, "close"), [], 0
    for one in made(puts):
        fits = not waiting or waiting + one.size <= limit
        answer = backlog.put(one)

        assert answer == (0 if fits else None)
        if not fits:
            break
        taken.append(one)
        waiting += one.size
    else:
        assert backlog.take() == taken


@given(LIMITS, st.sampled_from(["drop", "latest"]), PUTS)
def test_what_waits_is_bounded(limit, overflow, puts):
    """What waits exceeds the limit only where it is one batch, or one message of it."""
    backlog = Backlog(limit, overflow)
    for one in made(puts):
        backlog.put(one)
    size = backlog.size
    taken = backlog.take()

    assert size == sum(len(one.frame) for one in messages(taken))
    assert size <= limit or len([one for one in taken if one.messages]) == 1


@given(LIMITS, st.sampled_from(["drop", "latest"]), PUTS)
def test_nothing_is_lost_in_silence(limit, overflow, puts):
    """Each message waits in its order, or is superseded, or is told of by one `reset` before all.

    The newest message always waits, and each dropped one is counted.
    """
    backlog, batches = Backlog(limit, overflow), made(puts)
    dropped = sum(backlog.put(one) or 0 for one in batches)
    taken, put = backlog.take(), messages(batches)
    kept, told = messages(taken), losses(taken)
    missing = [one for one in put if one not in kept]
    until = told[0].until if told else BEGINNING

    assert kept == [one for one in put if one in kept]
    assert kept[-1] is put[-1]
    assert [loss.position for loss in losses(taken[:1])] == [until] * (dropped > 0)
    assert len(told) == (dropped > 0)
    assert all(one.id <= until or superseded(one, put) for one in missing)
    assert overflow == "latest" or dropped == len(missing)


@given(LIMITS, st.sampled_from(["drop", "latest"]), PUTS, st.lists(st.integers(1, 200)))
def test_parts_are_all_that_waits(limit, overflow, puts, sizes):
    """However it is taken, the same waits, and the size is that of what is left."""
    whole, backlog = Backlog(limit, overflow), Backlog(limit, overflow)
    for one in made(puts):
        whole.put(one)
        backlog.put(one)
    left, taken = whole.size, []
    for most in sizes:
        part = backlog.take(most)
        taken += part
        left -= sum(one.size for one in part if one.messages)

        assert backlog.size == left
        assert len(part) < 2 or sum(one.size for one in part) <= most

    taken += backlog.take()
    assert messages(taken) == messages(whole.take())
    assert (backlog.size, bool(backlog)) == (0, False)


@given(LIMITS, st.sampled_from(["close", "drop", "latest"]), PUTS, st.integers(0, 30))
def test_a_client_begins_with_all_that_is_after_its_floor(limit, overflow, puts, floor):
    """A client gets its history, and each newer message once, or a `reset` in its place.

    A loss up to the floor is none, because the history has those messages.
    """
    backlog = Backlog(limit if overflow != "close" else 10**6, overflow)
    batches = made(puts)
    for one in batches:
        backlog.put(one)
    put = messages(batches)
    history = [one for one in put if one.id <= Position(floor)]
    backlog.begin([Batch(history)], Position(floor))
    taken = backlog.take()
    got, told = messages(taken), losses(taken)
    until = told[0].until if told else BEGINNING

    assert got[: len(history)] == history
    assert got == [one for one in put if one in got]
    assert all(loss.until > Position(floor) for loss in told)
    assert all(one in got or one.id <= until or superseded(one, put) for one in put)
