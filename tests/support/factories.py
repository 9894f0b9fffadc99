"""Short ways to make the values that tests need."""

from __future__ import annotations

from collections.abc import Iterable

from flask_redis_events.channels import Channel
from flask_redis_events.clients import Subscription
from flask_redis_events.wire import Batch, Form, Message, Position


def message(
    number: int,
    text: str = "x",
    *,
    channel: str = "orders",
    prev: int | None = None,
    key: str | None = None,
) -> Message:
    """Return the message with id `<number>-0`."""
    frame = f'data: "{text}"\n\n'.encode()
    return Message.numbered(
        channel,
        frame,
        Position(number),
        prev=Position(number - 1 if prev is None else prev),
        key=key,
    )


def foreign(text: str, *, channel: str = "orders") -> Message:
    """Return a message that has no id."""
    return Message.from_payload(channel, text.encode())


def batch(*numbers: int, channel: str = "orders") -> Batch:
    """Return a batch of messages with these numbers."""
    return Batch([message(number, channel=channel) for number in numbers])


def channels(*names: str) -> list[Channel]:
    """Return channels as a developer writes them."""
    return [Channel.parse(name) for name in names]


def sent(batches: Iterable[Batch], *, numbered: bool = True) -> bytes:
    """Return the bytes that a client is sent for batches."""
    return b"".join(batch.encode(Form(numbered)) for batch in batches)


def went_live(subscription: Subscription, timeout: float = 5) -> bool:
    """Wait until Redis has acknowledged the subscription's channels."""
    return subscription.wait(lambda: subscription.live, timeout)
