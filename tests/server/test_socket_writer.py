"""The hub writes a client's socket.

It does so under gevent only, so these tests let gevent's loop run.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_redis_events.server import ClientSocket, SocketWriter, socket_writer
from tests.support.clock import Clock
from tests.support.connection import Connection
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("gevent_loop")

#: More than a connection takes while its client does not read.
MUCH = b"".join(b"%07d\n" % number for number in range(8192))


class Client:
    """A source of bytes, and owner of the socket that they are written to."""

    def __init__(self, connection: Connection) -> None:
        self.socket = ClientSocket(connection.server.fileno())
        self.writer = SocketWriter(self.socket, self)
        #: What the writer is given when it asks for more.
        self.waiting: list[bytes] = []
        self.asked = 0
        self.told: list[str] = []

    def more(self) -> bytes:
        self.asked += 1
        data, self.waiting = b"".join(self.waiting), []
        return data

    def lost(self) -> None:
        self.told.append("lost")
        self.socket.release()

    def finished(self) -> None:
        self.told.append("finished")
        self.socket.release()

    def offer(self, data: bytes) -> None:
        """Write bytes, or let them wait behind those that the socket has not taken."""
        if self.writer.stalled_since is None:
            self.writer.write(data)
        else:
            self.waiting.append(data)


@pytest.fixture
def client(connection: Connection) -> Iterator[Client]:
    client = Client(connection)
    yield client
    client.socket.release()


# --- writing ----------------------------------------------------------------------------------


def test_a_client_that_reads_is_written_at_once(client, connection):
    """Bytes that the socket takes are out when `write` returns, without a turn of the loop."""
    client.writer.write(b"one ")
    client.writer.write(memoryview(b"two"))

    assert connection.read() == b"one two"
    assert client.writer.sent == 7
    assert client.writer.stalled_since is None
    assert client.asked == 0


def test_the_rest_of_a_partial_write_follows_when_the_client_reads(client, connection):
    """A socket takes a part of the bytes, and the rest in order, each byte once."""
    client.writer.write(MUCH)
    at_first = client.writer.sent
    stalled = client.writer.stalled_since
    received = connection.read_until(lambda: client.writer.stalled_since is None)

    assert 0 < at_first < len(MUCH)
    assert stalled is not None
    assert received == MUCH
    assert client.writer.sent == len(MUCH)


def test_a_full_socket_takes_nothing_at_first(client, connection):
    """Bytes for a socket that is full wait until the client reads."""
    filled = connection.fill()
    client.writer.write(b"data")
    at_first = client.writer.sent
    received = connection.read_until(lambda: client.writer.stalled_since is None)

    assert at_first == 0
    assert received[filled:] == b"data"


def test_what_waits_at_the_source_follows_the_rest(client, connection):
    """Bytes that came while the socket took nothing follow in order, as soon as it takes more."""
    client.offer(MUCH)
    for number in range(3):
        client.offer(b"waited %d\n" % number)
    received = connection.read_until(lambda: client.writer.stalled_since is None)

    assert received == MUCH + b"waited 0\nwaited 1\nwaited 2\n"


def test_what_waits_may_be_more_than_the_socket_takes(client, connection):
    """The rest of what waited waits again, and what comes meanwhile follows it."""
    client.offer(MUCH)
    client.offer(MUCH)
    wait_until(lambda: connection.read() and client.asked)
    client.offer(b"the last")
    received = connection.read_until(lambda: client.writer.stalled_since is None)

    assert received == MUCH + MUCH + b"the last"


def test_after_a_stall_bytes_go_out_at_once_again(client, connection):
    """A client that has caught up is written without a turn of the loop, and may stall again."""
    client.offer(MUCH)
    connection.read_until(lambda: client.writer.stalled_since is None)
    client.offer(b"at once")
    at_once = connection.read()
    client.offer(MUCH)
    received = connection.read_until(lambda: client.writer.stalled_since is None)

    assert at_once == MUCH + b"at once"
    assert received == MUCH + b"at once" + MUCH


def test_stuck_clients_share_the_bytes_that_they_wait_for():
    """A hundred stuck clients hold one batch's bytes once, and not once each."""
    connections = [Connection() for _ in range(100)]
    clients = [Client(connection) for connection in connections]
    data = b"x" * 1024 * 1024
    tracemalloc.start()
    for client in clients:
        client.writer.write(data)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    stuck = [client.writer.stalled_since for client in clients]
    for client, connection in zip(clients, connections, strict=True):
        client.socket.release()
        connection.close()

    assert None not in stuck
    assert held < len(data)


# --- parts ------------------------------------------------------------------------------------


class Piecemeal(Client):
    """A source that gives its bytes piece by piece."""

    def more(self) -> bytes:
        self.asked += 1
        return self.waiting.pop(0) if self.waiting else b""


@pytest.fixture
def piecemeal(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Piecemeal]:
    """A source with three pieces, each of which is a part."""
    monkeypatch.setattr(socket_writer, "PART", 4)
    client = Piecemeal(connection)
    client.waiting = [b"one ", b"two ", b"three"]
    yield client
    client.socket.release()


def test_a_client_that_reads_fast_is_written_a_part_at_a_time(piecemeal, connection):
    """What waits at the source goes out in parts, between which the loop serves others."""
    piecemeal.writer.begin()
    at_once = connection.read()
    received = connection.read_until(lambda: piecemeal.asked == 4)

    assert at_once == b"one "
    assert received == b"one two three"
    assert piecemeal.writer.stalled_since is None


def test_the_end_does_not_wait_for_the_loop(piecemeal, connection):
    """At its end a client is written all that the socket takes, as the process may end, too."""
    piecemeal.writer.end(b"!")

    assert connection.read() == b"one two three!"
    assert piecemeal.told == ["finished"]


# --- how long it takes ------------------------------------------------------------------------


def test_a_stall_is_timed_from_the_last_byte_that_was_taken(client, connection, monkeypatch):
    """`stalled_since` moves on with every byte that the socket takes, and stays while none is."""
    clock = Clock()
    monkeypatch.setattr(socket_writer, "time", clock)
    client.writer.write(MUCH)
    began = client.writer.stalled_since
    sent = client.writer.sent
    clock.now += 5
    connection.read()
    wait_until(lambda: client.writer.sent > sent)
    then = client.writer.stalled_since
    clock.now += 5

    assert (began, then) == (100.0, 105.0)
    assert client.writer.stalled_since == 105.0


def test_a_try_in_vain_does_not_end_a_stall(client, connection, monkeypatch):
    """A socket that takes nothing has been stalled since it took the last byte."""
    clock = Clock()
    monkeypatch.setattr(socket_writer, "time", clock)
    connection.fill()
    client.writer.write(b"data")
    clock.now += 5
    client.writer.write(b"data")

    assert client.writer.stalled_since == 100.0


# --- the end ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [b"0\r\n\r\n", b""], ids=["last chunk", "end of the connection"])
def test_an_idle_client_is_finished_at_once(client, connection, tail):
    """A body that has gone out ends with its tail, and the source is told."""
    client.writer.write(b"data")
    client.writer.end(tail)

    assert client.told == ["finished"]
    assert connection.read() == b"data" + tail
    assert client.writer.sent == len(b"data" + tail)


@pytest.mark.parametrize("tail", [b"0\r\n\r\n", b""], ids=["last chunk", "end of the connection"])
def test_the_end_comes_after_all_that_waits(client, connection, tail):
    """The tail follows the rest and what waits at the source; then the source is told, once."""
    client.offer(MUCH)
    client.offer(b"waited")
    client.writer.end(tail)
    before = list(client.told)
    received = connection.read_until(lambda: client.told)

    assert before == []
    assert received == MUCH + b"waited" + tail
    assert client.told == ["finished"]


def test_what_waits_at_the_source_of_an_idle_client_comes_before_the_end(client, connection):
    """A source may let its last bytes wait, and then end."""
    client.waiting.append(b"waited")
    client.writer.end(b"0\r\n\r\n")

    assert connection.read() == b"waited0\r\n\r\n"
    assert client.told == ["finished"]


def test_the_end_itself_may_have_to_wait(client, connection):
    """The source is told only when the socket has taken the whole tail."""
    client.writer.end(MUCH)
    before = list(client.told)
    received = connection.read_until(lambda: client.told)

    assert before == []
    assert received == MUCH
    assert client.told == ["finished"]


def test_a_broken_connection_is_lost(client, connection):
    """Writing to a client that has left raises nothing; the source is told, and asked no more."""
    connection.client.close()
    client.writer.write(b"data")

    assert client.told == ["lost"]
    assert (client.asked, client.writer.sent) == (0, 0)


def test_a_connection_that_breaks_while_it_is_stuck_is_lost(client, connection):
    """A stuck client that leaves is lost as soon as the loop hears of it."""
    client.offer(MUCH)
    client.offer(b"waited")
    connection.client.close()

    assert wait_until(lambda: client.told) == ["lost"]
    assert client.asked == 0


def test_a_connection_that_breaks_with_its_last_bytes_is_lost_once(client, connection):
    """A client that has left before the tail is lost, and not finished as well."""
    connection.client.close()
    client.writer.end(b"0\r\n\r\n")

    assert client.told == ["lost"]


def test_a_socket_that_was_released_is_written_no_more(client, connection):
    """After its release, a stuck client gets nothing of what waits, and the loop is quiet."""
    client.offer(MUCH)
    client.offer(b"waited")
    sent = client.writer.sent
    client.socket.release()
    received = connection.read_until(lambda: len(connection.received) == sent)
    client.writer.end(b"0\r\n\r\n")
    time.sleep(0)

    assert received == MUCH[:sent]
    assert connection.read() == received
    assert (client.asked, client.told) == (0, [])


def test_a_release_in_the_midst_of_writing_is_its_end(connection):
    """A source that gives its socket up as it is lost is neither asked nor written any more."""

    class Closing(Client):
        """A client whose connection is lost while the writer asks for more."""

        def more(self) -> bytes:
            data = super().more()
            connection.client.close()
            self.waiting.append(b"never")
            return data

    client = Closing(connection)
    client.waiting.append(b"waited")
    client.writer.end(b"0\r\n\r\n")

    assert client.told == ["lost"]
    assert client.asked == 1


# --- a model ----------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.just("offer"), st.integers(1, 20_000))
    | st.tuples(st.just("read"), st.integers(1, 30_000))
    | st.tuples(st.just("run"), st.just(0)),
    max_size=20,
)


@given(STEPS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_client_reads_what_it_was_offered(steps):
    """However much is offered, and whenever the client reads, all bytes arrive in order, once."""
    connection = Connection()
    client = Client(connection)
    offered = b""
    for step, size in steps:
        if step == "offer":
            data = MUCH[len(offered) % 7 :][:size]
            client.offer(data)
            offered += data
        elif step == "read":
            connection.read(size)
        else:
            time.sleep(0)
    client.writer.end(b"0\r\n\r\n")
    received = connection.read_until(lambda: client.told)
    connection.close()

    assert received == offered + b"0\r\n\r\n"
    assert client.writer.sent == len(received)
