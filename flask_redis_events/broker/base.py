"""What the hub asks of a broker, and what arrives from it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from ..channels import Channel
from ..wire import BEGINNING, Message, Position
from .coverage import Snapshot


class Outgoing(NamedTuple):
    """A message to publish: its channel, frame and key, and what it does to the state, if that."""

    channel: str
    frame: bytes
    key: str | None = None
    keep: str = ""


class Delivery(NamedTuple):
    """One copy of a message, with the subscription that delivered it.

    Redis sends a message once for its channel's exact name, and once more for each subscribed
    pattern that matches the name.
    """

    #: The exact channel or the pattern that was subscribed to.
    via: Channel
    message: Message


class Acknowledgement(NamedTuple):
    """Redis has confirmed a subscription, so every message published from now on arrives."""

    channel: Channel


class Refusal(NamedTuple):
    """Redis' ACL has refused one SUBSCRIBE command.

    The ACL may forbid only one of these channels, but the command subscribed to none of them.
    """

    channels: list[Channel]


class Pong(NamedTuple):
    """Redis has answered a ping."""


Received = Delivery | Acknowledgement | Refusal | Pong


class Feed(Protocol):
    """One pub/sub connection.

    Only the worker's reader calls `read`; any greenlet or thread may call the other methods.
    """

    def subscribe(self, channels: Collection[Channel]) -> None:
        """Request channels; `read` returns the answers.

        They are an `Acknowledgement` for each channel, or a `Refusal` for all channels of one
        command.
        """

    def unsubscribe(self, channels: Collection[Channel]) -> None:
        """Give channels up; messages that are already under way still arrive."""

    def read(self, timeout: float) -> list[Received]:
        """Wait up to `timeout` seconds, then return everything that is ready, or []."""

    def ping(self) -> None:
        """Send a ping, which Redis answers with a `Pong`."""

    def close(self) -> None:
        """End the connection, so that a waiting `read` raises `BrokerError`; idempotent."""


#: One identity on one channel.
Entry = tuple[str, str]


class People(Protocol):
    """The leases of workers, and the identities that they serve.

    Every method may raise `BrokerError`.  What a worker has noted goes with its lease: the worker
    that notices first that a lease has lapsed cleans up, once.
    """

    def renew(self, worker: str, text: str, seconds: float, *, first: bool) -> list[str] | None:
        """Renew a worker's lease; return the workers whose leases have lapsed.

        They are the caller's to clean up after.  `first` says that the worker holds no lease yet.
        None if it does not hold one any more: others may be cleaning up after it.
        """

    def resign(self, worker: str) -> None:
        """Give a lease up; others clean up after the worker."""

    def leases(self) -> list[str]:
        """Return what each worker says of itself."""

    def note(self, worker: str, streams: Mapping[Entry, int], grace: float) -> list[Entry]:
        """Note how many streams identities have in a worker; return those who have joined.

        An identity without streams has left when `grace` seconds have passed.
        """

    def noted(self, worker: str) -> list[Entry]:
        """Return some of what a worker has noted, or all of it."""

    def all_noted(self, worker: str) -> list[Entry]:
        """Return all that a worker has noted."""

    def has(self, worker: str, entries: Sequence[Entry]) -> bool:
        """Say whether all these entries of a worker are still there."""

    def forget(self, worker: str) -> None:
        """Forget a worker that has been cleaned up after."""

    def left(self) -> list[Entry]:
        """Take away who has left and did not come back in time; return each to one caller only."""

    def present(self, channel: str) -> dict[str, int]:
        """Return how many streams each identity has on a channel; 0 in its time of grace.

        The streams of a worker whose lease has lapsed do not count.
        """


class Standing(NamedTuple):
    """What a producer learns of its run with each call.

    The state is `lost` if the run is not the producer's any more, and `active` if another one has
    it.
    """

    state: str
    #: Whether somebody wants the run to stop.
    stop: bool


class Log(NamedTuple):
    """The newest run on a channel; without one, the state is ''."""

    state: str = ""
    #: All its messages are after this.
    started: Position | None = None
    #: Its marker.
    ended: Position | None = None


class Runs(Protocol):
    """Runs and their producers.  Every method may raise `BrokerError`."""

    def begin(self, channel: str, token: str, *, ttl: float, lease: float) -> Standing:
        """Begin a run whose producer is `token`, with an empty log; `ttl`, `lease` in seconds."""

    def write(
        self,
        channel: str,
        token: str,
        number: int,
        messages: Sequence[Outgoing],
        *,
        state: str = "",
        ttl: float,
        lease: float,
    ) -> Standing:
        """Add messages, end the run with a state if one is given, and renew the lease, all at once.

        Writes are numbered one by one; the last number again repeats a write, and adds nothing.  If
        a write before this one is missing, the run is lost.
        """

    def request_stop(self, channel: str) -> bool:
        """Ask the run to stop, also one that has not begun; False if it is over."""

    def look(self, channel: str) -> Log:
        """Return what is known of the newest run, after a look at its lease."""

    def sweep(self, viewed: Iterable[str] = (), position: Position = BEGINNING) -> None:
        """End runs as `lost`, each once: those whose leases have lapsed, and those that are gone.

        The `viewed` ones have begun, and have not ended by a `position` that a worker has come to.
        So Redis has lost one that it does not know, unless something came after the position.
        """


class Broker(Protocol):
    """Publishes messages, and replays those it keeps.  Every method may raise `BrokerError`."""

    #: Whether messages get ids, and are kept unless they are transient.
    numbered: bool
    #: How many seconds a channel's history outlives its last message.
    history_ttl: float

    def publish(
        self,
        channel: str,
        frame: bytes,
        *,
        persist: bool = True,
        key: str | None = None,
        keep: str = "",
    ) -> Position | None:
        """Publish a frame on a channel; return its id, or None without history.

        `persist=False` makes the message transient, so that history does not keep it.  `key` names
        the value that the message updates, for streams with `overflow="latest"`.  `keep` is what it
        does to the state: `KEEP`, `REMOVE` or nothing; it may raise `StateFull`.
        """

    def publish_many(
        self, messages: Iterable[Outgoing | tuple[str, bytes]], *, persist: bool = True
    ) -> list[Position | None]:
        """Publish messages in order, many in one round trip; return their ids.

        A pair of channel and frame is a message without a key.  After `StateFull`, no message of
        the same round trip was published.
        """

    def replay(
        self,
        channels: Collection[Channel],
        *,
        after: Position | None = None,
        last: int = 0,
        limit: int = 0,
        max_bytes: int | None = None,
        witness: Message | None = None,
        state: bool = False,
    ) -> Snapshot:
        """Read the messages after a position, or else the `last` newest, as of one moment.

        With `state`, read the newest value of each key in place of them.

        `limit` stops after that many messages of each channel; 0 reads all.  If there are more than
        `max_bytes`, or than can be read for a pattern, the snapshot has none of them, and says so.

        `witness` is the newest kept message that this worker has received.  The snapshot says
        whether Redis lacks it, which is so after a failover to a replica that had not received it.
        It also has the ids of the channels' last messages that are later than the witness.
        """

    def note_fork(self, position: Position, *, overtaken: bool) -> Position:
        """Note that a failover lost messages up to a position, and let ids go on after it.

        `overtaken`: ids before the position have been given out again, so that no position of
        before this moment holds any more.  Return the position before which clients are `forked`.
        """

    @property
    def people(self) -> People:
        """What workers write down of themselves and of who is there."""

    @property
    def runs(self) -> Runs:
        """Runs and their producers."""

    def open(self) -> Feed:
        """Make the connection that a reader reads from."""

    def close(self) -> None:
        """Close the connections that publish and replay."""
