"""A client whose socket the hub writes: `Subscription.hand_over` with a real socket.

It is handed over under gevent only, so these tests let gevent's loop run.
"""

from __future__ import annotations

import socket
import sys
import time
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_redis_events import endings
from flask_redis_events.clients import Owner, Subscription, subscription
from flask_redis_events.endings import Ending
from flask_redis_events.server import ClientSocket, SocketWriter
from flask_redis_events.wire import PART, Batch, Form, Message, Position, control, parts
from flask_redis_events.wire.control import Loss
from flask_redis_events.wire.sse import Event, decode
from tests.support.clock import Clock
from tests.support.connection import Connection
from tests.support.factories import batch, foreign, message
from tests.support.http_body import Chunked, UntilClosed
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("gevent_loop")

#: The bytes of one message that the factories make.
ONE = batch(1).size
EACH_ENDING = [value for value in vars(endings).values() if isinstance(value, Ending)]


class Stream(Owner):
    """A client and its connection; it remembers what it is told, and frees the connection."""

    def __init__(self, connection: Connection, *, chunked: bool = True, **options) -> None:
        self.connection = connection
        self.client = Subscription(owner=self, **options)
        self.socket = ClientSocket(connection.server.fileno())
        self.chunked = chunked
        self.told: list[object] = []
        self.drains = 0
        self._filled = 0

    def hand_over(self) -> Stream:
        self.writer = SocketWriter(self.socket, self.client)
        self.client.hand_over(self.writer, chunked=self.chunked)
        return self

    def stick(self) -> Stream:
        """Fill the connection, and offer message 1, so that all that follows has to wait."""
        self._filled = self.connection.fill()
        self.client.offer(batch(1))
        return self

    def offer(self, *numbers: int) -> None:
        for number in numbers:
            self.client.offer(batch(number))

    # -- what the client tells ---------------------------------------------------------------------

    def closed(self, ending: Ending) -> None:
        self.told.append(ending)

    def drained(self) -> None:
        self.drains += 1

    def dropped(self, count: int) -> None:
        self.told.append(count)

    def finished(self) -> None:
        self.told.append("finished")
        if self.client.closed is not None and self.client.closed.cut:
            self.socket.cut()
        self.socket.release()

    # -- what came over the connection -------------------------------------------------------------

    def flow(self) -> None:
        """Let the client read until nothing waits for it any more."""
        self.connection.read_until(lambda: self.socket.fd < 0 or self.client.idle)

    @property
    def body(self) -> bytes:
        """What came by now, without the bytes that filled the connection."""
        return self.connection.read()[self._filled :]

    @property
    def events(self) -> list[Event]:
        return decode((Chunked() if self.chunked else UntilClosed()).feed(self.body))

    @property
    def got(self) -> list[str]:
        """The ids of messages, and the names of control frames."""
        return [
            event.last_event_id if event.event == "message" else event.event
            for event in self.events
        ]

    @property
    def complete(self) -> bool:
        """Whether the body has ended with its last chunk."""
        framing = Chunked()
        framing.feed(self.body)
        return framing.done


@pytest.fixture
def stream(connection: Connection) -> Iterator[Stream]:
    stream = Stream(connection).hand_over()
    yield stream
    stream.socket.release()


@pytest.fixture
def small(connection: Connection, request: pytest.FixtureRequest) -> Iterator[Stream]:
    """A stuck stream with room for four messages; the parameter is its overflow policy."""
    overflow = getattr(request, "param", "drop")
    stream = Stream(connection, limit=4 * ONE, overflow=overflow).hand_over().stick()
    yield stream
    stream.socket.release()


# --- handing over -----------------------------------------------------------------------------


def test_what_waited_goes_out_as_one_chunk(connection):
    """Batches that came before the hand-over are written at once and together, in order."""
    stream = Stream(connection)
    stream.offer(1, 2)
    stream.client.beat(Position(2))
    stream.offer(3)
    stream.hand_over()

    assert stream.got == ["1-0", "2-0", "3-0"]
    assert stream.body.count(b"\r\n") == 2
    assert stream.drains == 1
    assert stream.client.idle


def test_an_idle_client_is_written_nothing(stream):
    """A hand-over with nothing to write writes no chunk, as an empty one would end the body."""
    assert stream.body == b""
    assert stream.client.idle


def test_what_was_taken_counts_as_sent(connection):
    """What the server was given before the hand-over has gone out, so the client is idle."""
    stream = Stream(connection)
    stream.offer(1)
    stream.client.take(0)
    before = stream.client.idle
    stream.hand_over()

    assert (before, stream.client.idle) == (False, True)


def test_a_batch_is_written_as_it_is_offered(stream):
    """A client that reads has each batch when `offer` returns; nothing waits."""
    stream.offer(1)
    at_once = stream.got
    stream.offer(2)

    assert (at_once, stream.got) == (["1-0"], ["1-0", "2-0"])
    assert not stream.client.has_news


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("numbered", [True, False])
def test_bytes_have_the_clients_form(connection, chunked, numbered):
    """A handed-over client is written in its own form, what had waited before included."""
    stream = Stream(connection, chunked=chunked, numbered=numbered)
    stream.offer(1)
    stream.hand_over()
    stream.offer(2)
    form = Form(numbered, chunked)

    assert stream.body == batch(1).encode(form) + batch(2).encode(form)


def test_a_handed_over_client_is_not_sent_what_history_brought(connection):
    """A message at or before the client's floor is skipped, also inside a batch."""
    stream = Stream(connection, held=True)
    stream.client.start(Position(2), [batch(1, 2)])
    stream.hand_over()
    stream.client.offer(batch(1, 2))
    stream.client.offer(batch(2, 3))

    assert stream.got == ["1-0", "2-0", "3-0"]


def test_a_batch_of_which_nothing_was_made_is_no_chunk(stream):
    """An empty batch is not written, because an empty chunk is the last one."""
    stream.client.offer(Batch())
    stream.offer(1)

    assert stream.got == ["1-0"]
    assert not stream.complete


@pytest.mark.parametrize(
    "numbered, offered, active",
    [
        pytest.param(True, batch(1), True, id="an id"),
        pytest.param(True, Batch([foreign("f")]), False, id="no id, where there are any"),
        pytest.param(False, Batch([foreign("f")]), True, id="no id, where there are none"),
    ],
)
def test_a_client_is_active_when_its_cursor_moves(
    connection, monkeypatch, numbered, offered, active
):
    """A heartbeat is put off by what a heartbeat would do: it moves the cursor, if there is one."""
    clock = Clock()
    monkeypatch.setattr(subscription, "time", clock)
    stream = Stream(connection, numbered=numbered).hand_over()
    stream.client.offer(offered)

    assert stream.client.active_at == (clock.now if active else 0)


# --- a stuck client ---------------------------------------------------------------------------


def test_what_comes_for_a_stuck_client_follows_in_order(stream):
    """Batches that are offered to a stuck client wait, and go out as one chunk when it reads."""
    stream.stick()
    stream.offer(2, 3, 4)
    before = (stream.client.idle, stream.got)
    stream.flow()

    assert before == (False, [])
    assert stream.got == ["1-0", "2-0", "3-0", "4-0"]
    assert stream.body.count(b"\r\n") == 4


def test_a_client_that_has_caught_up_is_written_at_once_again(stream):
    """A client that was stuck is as any other one as soon as nothing waits for it."""
    stream.stick()
    stream.offer(2)
    stream.flow()
    stream.offer(3)

    assert stream.got == ["1-0", "2-0", "3-0"]
    assert not stream.client.has_news


def test_what_is_empty_for_a_stuck_client_is_no_chunk(stream):
    """A stuck client for which nothing was made gets no empty chunk when it reads."""
    stream.stick()
    stream.client.offer(Batch())
    stream.flow()
    stream.offer(2)

    assert stream.got == ["1-0", "2-0"]
    assert not stream.complete


def test_no_heartbeat_waits_behind_others(stream):
    """A stuck client is sent no heartbeat; one that has caught up is."""
    stream.stick()
    for number in range(5):
        stream.client.beat(Position(number))
    stream.flow()
    without = stream.got
    stream.client.beat(Position(9))

    assert without == ["1-0"]
    assert stream.got == ["1-0", "heartbeat"]
    assert stream.events[-1].last_event_id == "9-0"


def test_a_reset_comes_in_its_place(stream):
    """A stuck client is told of a loss after what came before it, and before what comes after."""
    stream.stick()
    stream.offer(2)
    told = stream.client.lose(Loss("trimmed", Position(4)))
    stream.offer(5)
    stream.flow()

    assert told
    assert stream.got == ["1-0", "2-0", "reset", "5-0"]


def test_after_the_clock_went_back_positions_restart(stream):
    """A handed-over client is sent the messages of the new clock, though its floor is beyond."""
    stream.client.floor = Position(100)
    stream.client.lose(Loss("rolled back", Position(100), restart=Position(50)))
    stream.offer(51)

    assert stream.got == ["reset", "51-0"]
    assert stream.events[0].last_event_id == "50-0"


# --- parts ------------------------------------------------------------------------------------


def history(count: int, length: int) -> list[Message]:
    return [message(number, "x" * length) for number in range(1, count + 1)]


def test_live_messages_follow_a_history_that_is_still_being_written(connection):
    """A history is written a part at a time; what comes in between waits behind it."""
    stream = Stream(connection, held=True)
    stream.client.start(Position(100), parts(history(100, PART // 10)))
    connection.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
    stream.hand_over()
    before = (stream.client.idle, len(stream.got), stream.writer.stalled_since)
    stream.offer(101)
    stream.client.beat(Position(101))
    stream.client.lose(Loss("trimmed", Position(102)))
    stream.flow()

    assert before == (False, 18, None)
    assert stream.got == [*(f"{number}-0" for number in range(1, 102)), "reset"]


def test_clients_that_do_not_read_share_their_history():
    """A client holds one part of its history as bytes, and the messages are those of all."""
    streams = [Stream(Connection(), held=True) for _ in range(50)]
    messages = history(2500, 4000)
    tracemalloc.start()
    for stream in streams:
        stream.client.start(Position(2500), parts(messages))
        stream.hand_over()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    stuck = [stream.writer.stalled_since for stream in streams]
    for stream in streams:
        stream.client.close(endings.GONE)
        stream.connection.close()

    assert None not in stuck
    assert held < len(streams) * 1.5 * PART


def test_a_large_message_that_waited_is_shared():
    """Clients that read on hold a large message once, though each of them was stuck before it."""
    streams = [Stream(Connection()).hand_over().stick() for _ in range(50)]
    large = Batch([message(2, "x" * 4_000_000)])
    tracemalloc.start()
    for stream in streams:
        stream.client.offer(large)
    for stream in streams:
        sent = stream.writer.sent
        stream.connection.read_until(lambda s=stream, n=sent: s.writer.sent > n + ONE)  # type: ignore[misc]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    waiting = [bool(stream.client._backlog) for stream in streams]
    for stream in streams:
        stream.client.close(endings.GONE)
        stream.connection.close()

    assert not any(waiting)
    assert held < 2 * large.size


@pytest.mark.parametrize("ending", [endings.GONE, endings.WRITE_TIMEOUT], ids=["gone", "cut"])
def test_a_finished_client_holds_no_bytes(stream, ending):
    """A stream and its client refer to each other; what the socket has not taken is freed first."""
    large = Batch([message(1, "x" * 1_000_000)])
    data = large.encode(stream.client.form)
    before = sys.getrefcount(data)
    stream.client.offer(large)
    waiting = sys.getrefcount(data)
    stream.client.close(ending)

    assert waiting > before
    assert sys.getrefcount(data) == before


# --- room -------------------------------------------------------------------------------------


def test_a_source_that_can_wait_is_told_when_there_is_room(small):
    """There is no room while a stuck client's backlog is half full; its owner is told of room."""
    small.offer(2, 3)
    rooms = [small.client.has_room]
    small.offer(4)
    rooms.append(small.client.has_room)
    drains = small.drains
    small.flow()
    rooms.append(small.client.has_room)

    assert rooms == [True, False, True]
    assert (drains, small.drains) == (0, 1)


def test_a_closed_client_asks_for_no_more(stream):
    """The owner of a client that is closed is not told of room: nothing more is accepted."""
    stream.stick()
    stream.offer(2)
    stream.client.close(endings.DRAINING)
    stream.flow()

    assert stream.got == ["1-0", "2-0"]
    assert stream.drains == 0


# --- a full backlog ---------------------------------------------------------------------------


@pytest.mark.parametrize("small", ["close"], indirect=True)
def test_a_stuck_client_is_cut_when_its_backlog_is_full(small):
    """With `close`, the connection ends at once, without what waits."""
    small.offer(2, 3, 4, 5)
    until_then = list(small.told)
    small.offer(6, 7)
    small.connection.read_until(lambda: small.connection.ended)

    assert until_then == []
    assert small.told == [endings.OVERFLOW, "finished"]
    assert small.got == []


@pytest.mark.parametrize("small", ["drop"], indirect=True)
def test_a_stuck_client_loses_its_oldest_messages(small):
    """With `drop`, a `reset` is in the place of the messages that are missing."""
    small.offer(2, 3, 4, 5, 6)
    small.flow()

    assert small.got == ["1-0", "reset", "5-0", "6-0"]
    assert small.events[1].last_event_id == "4-0"
    assert small.told == [3]


@pytest.mark.parametrize("small", ["latest"], indirect=True)
def test_a_stuck_client_gets_the_newest_of_each_key(small):
    """With `latest`, superseded messages are missing in silence."""
    for number in range(2, 7):
        small.client.offer(Batch([message(number, key="a")]))
    small.flow()

    assert small.got == ["1-0", "6-0"]
    assert small.told == []


# --- the end ----------------------------------------------------------------------------------

READABLE = [ending for ending in EACH_ENDING if ending.readable]
UNREADABLE = [ending for ending in EACH_ENDING if not ending.readable]
LAST = control.reconnect("…", retry=1)


def reason(ending: Ending) -> str:
    return ending.reason


@pytest.mark.parametrize("stuck", [False, True], ids=["reading", "stuck"])
@pytest.mark.parametrize("ending", READABLE, ids=reason)
def test_a_client_that_reads_gets_everything_before_its_end(stream, ending, stuck):
    """A client gets what waits, the last frame and the last chunk; then its owner is told."""
    if stuck:
        stream.stick()
    else:
        stream.offer(1)
    stream.offer(2)
    stream.client.close(ending, last=LAST)
    at_once = list(stream.told)
    stream.offer(3)
    stream.flow()

    assert at_once == ([ending] if stuck else [ending, "finished"])
    assert stream.told == [ending, "finished"]
    assert stream.got == ["1-0", "2-0", "reconnect"]
    assert stream.complete


@pytest.mark.parametrize("stuck", [False, True], ids=["reading", "stuck"])
@pytest.mark.parametrize("ending", UNREADABLE, ids=reason)
def test_a_client_that_does_not_read_gets_nothing_more(stream, ending, stuck):
    """A client that left or is cut off is finished at once, without the last frame and chunk."""
    if stuck:
        stream.stick()
        stream.offer(2)
    stream.client.close(ending, last=LAST)
    stream.offer(3)
    time.sleep(0)

    assert stream.told == [ending, "finished"]
    assert (stream.got, stream.complete) == ([], False)
    assert stream.connection.ended is ending.cut


def test_a_body_without_chunks_ends_with_its_last_frame(connection):
    """A client of HTTP/1.0 reads what waits and the last frame; the owner ends the connection."""
    stream = Stream(connection, chunked=False).hand_over().stick()
    stream.offer(2)
    stream.client.close(endings.ENDED, last=control.end(Position(2)))
    stream.flow()

    assert stream.told == [endings.ENDED, "finished"]
    assert stream.got == ["1-0", "2-0", "end"]
    assert stream.body.endswith(control.end(Position(2)).encode(Form()))


def test_a_client_is_closed_once(stream):
    """The first ending counts, also while the last bytes wait."""
    stream.stick()
    closed = [stream.client.close(endings.DRAINING), stream.client.close(endings.GONE)]
    stream.flow()

    assert closed == [True, False]
    assert stream.told == [endings.DRAINING, "finished"]


def test_a_client_that_has_left_is_gone_when_it_is_written(stream):
    """An offer to a client that has left raises nothing; the owner is told once."""
    stream.connection.client.close()
    stream.offer(1, 2)
    stream.client.beat(Position(2))

    assert stream.client.closed is endings.GONE
    assert stream.told == [endings.GONE, "finished"]


def test_a_stuck_client_that_leaves_is_gone(stream):
    """A client that leaves while it is stuck is noticed by the loop."""
    stream.stick()
    stream.offer(2)
    stream.connection.client.close()
    wait_until(lambda: stream.told)

    assert stream.told == [endings.GONE, "finished"]


def test_a_client_may_leave_before_it_has_read_its_end(stream):
    """A client that leaves before its last bytes is finished, and keeps the reason of its end."""
    stream.stick()
    stream.client.close(endings.DRAINING, last=LAST)
    stream.connection.client.close()
    wait_until(lambda: "finished" in stream.told)

    assert stream.told == [endings.DRAINING, "finished"]


def test_a_client_may_have_left_when_it_is_closed(stream):
    """A farewell to a client that has left finishes the client, once."""
    stream.connection.client.close()
    stream.client.close(endings.DRAINING, last=LAST)

    assert stream.client.closed is endings.DRAINING
    assert sorted(map(str, stream.told)) == sorted([str(endings.DRAINING), "finished"])


# --- a model ----------------------------------------------------------------------------------

STEPS = st.lists(
    st.sampled_from(["offer", "offer", "offer many", "beat", "read a little", "read all", "run"]),
    max_size=40,
)


def play(stream: Stream, steps: list[str]) -> int:
    """Do what the steps say, and end the stream; return the number of the last message."""
    number = 0
    for step in steps:
        if step == "offer":
            number += 1
            stream.client.offer(Batch([message(number, "x" * 500)]))
        elif step == "offer many":
            stream.client.offer(Batch([message(number + n, "x" * 500) for n in range(1, 11)]))
            number += 10
        elif step == "beat":
            stream.client.beat(Position(number))
        elif step == "run":
            time.sleep(0)
        else:
            stream.connection.read(1000 if step == "read a little" else 1 << 20)
    stream.client.close(endings.ENDED, last=control.end(Position(number)))
    stream.connection.read_until(lambda: stream.told[-1] == "finished")
    stream.connection.close()
    return number


@given(STEPS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_client_with_room_reads_every_message_once(steps):
    """However the client reads, each message arrives once, in order, and the body is whole."""
    stream = Stream(Connection()).hand_over()
    last = play(stream, steps)
    ids = [event.last_event_id for event in stream.events if event.event == "message"]

    assert ids == [f"{number}-0" for number in range(1, last + 1)]
    assert stream.events[-1].event == "end"
    assert stream.complete


@given(STEPS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_client_without_room_is_told_of_every_hole(steps):
    """Each message follows its predecessor, or a `reset` that moves the cursor to it.

    A heartbeat and the end carry the very position that the client has come to.
    """
    stream = Stream(Connection(), limit=3000, overflow="drop").hand_over()
    last = play(stream, steps)
    reached = 0
    for event in stream.events:
        id = Position.parse(event.last_event_id.removesuffix(".end")) or Position(0)
        if event.event == "message":
            reached += 1
        elif event.event == "reset":
            reached = id.ms

        assert id.ms == reached

    assert reached == last
    assert stream.complete
