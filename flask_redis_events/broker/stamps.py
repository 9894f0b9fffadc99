"""What shows that a payload comes from an emitter, and not from whoever else may PUBLISH.

An envelope carries a stamp.  Without a secret it is a random word that `begin.lua` has written into
`meta`: nobody knows it who may only PUBLISH.  With REDIS_EVENTS_SECRET it is a code over the topic
and the whole payload, which nobody can make who may also SUBSCRIBE and read every key.  A payload
whose stamp is wrong is data like any other text, and moves no position.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import secrets
from collections.abc import Callable
from hmac import compare_digest

from ..concurrency import Deadline
from ..exceptions import BrokerError
from ..wire.data import MARK
from ..wire.sse import CONTROL_EVENTS

log = logging.getLogger("flask_redis_events")

#: Seconds between two questions to Redis for its word, at least.
REST = 1.0
#: What an application without history and without a secret is sent: a comment, or an event that has
#: no id and is not a control event.
_HARMLESS = re.compile(
    rb":\n\n|"
    rb"(?:%b)?(?:event: (?!(?:%b)\n)[^\r\n]*\n)?(?:retry: [0-9]{1,18}\n)?(?:data: [^\r\n]*\n)+\n"
    % (MARK, "|".join(CONTROL_EVENTS).encode())
)


class Stamps:
    """Makes stamps and checks them; `renew` asks Redis for its word."""

    def __init__(self, secret: str, prefix: str, renew: Callable[[], None]) -> None:
        self._renew = renew
        self._warned = False
        self._rest = Deadline(0)
        #: What Redis' scripts stamp with, where there is no secret.
        self.word = b""
        #: Two keys, so that nobody can append to a payload (a nested code, as in HMAC); '' without
        #: a secret.  A pattern also matches topics of longer prefixes, with other ids.
        self.inner, self.outer = (
            _key(secret, f"{purpose} {prefix}") for purpose in ("inner", "outer")
        )

    def sign(self, topic: bytes, envelope: bytes, rest: bytes) -> bytes:
        """Return the stamp that stands between `envelope` and `rest`; `-` without a secret."""
        if not self.inner:
            return b"-"
        text = b"%b%b\n%b%b" % (self.inner.encode(), topic, envelope, rest)
        inner = hashlib.sha1(text).hexdigest()
        return hashlib.sha1((self.outer + inner).encode()).hexdigest().encode()

    def accept(self, topic: bytes, payload: bytes, found: re.Match[bytes]) -> bool:
        """Say whether the envelope that was found in a payload is an emitter's."""
        if self.inner:
            envelope, rest = payload[: found.start("stamp")], payload[found.end("stamp") :]
            genuine = compare_digest(found["stamp"], self.sign(topic, envelope, rest))
        elif found["id"] is None:
            genuine = _HARMLESS.fullmatch(payload, found.end()) is not None
        else:
            genuine = self._is_word(found["stamp"])
        if not genuine and not self._warned:
            self._warned = True
            log.warning(
                "A message on %r was not made by an emitter of this application, and is passed on"
                " as data; do all processes have the same REDIS_EVENTS_SECRET?",
                topic.decode("utf-8", "replace"),
            )
        return genuine

    def _is_word(self, stamp: bytes) -> bool:
        if stamp != self.word and self._rest.passed:
            # Redis may have lost its data, and begun with another word.
            self._rest = Deadline(REST)
            with contextlib.suppress(BrokerError):
                self._renew()
        return stamp == self.word


def new_word() -> str:
    """Return a word for `begin.lua` to keep, if there is none."""
    return secrets.token_hex(8)


def _key(secret: str, purpose: str) -> str:
    return hashlib.sha256(f"{purpose} {secret}".encode()).hexdigest() if secret else ""
