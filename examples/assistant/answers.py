"""The job: an answer, word by word.  A Markov chain over a text stands in for a language model."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator

from flask import current_app

from flask_redis_events import RedisEvents

events = RedisEvents()

WORDS = 200
#: Seconds for which an answer can be read after its end; what is to last belongs in a database.
KEPT = 24 * 3600
TEXT = """
A river is never the same river, because the water that was here is gone and other water is here.
The water that is gone is in the sea, and the sea is in the clouds, and the clouds are over the
hills where the river begins. Nobody who stands on the bridge can see where the river begins, and
nobody who stands at the spring can see the bridge. A boat on the river goes where the water goes,
and the people in the boat say that the bridge is moving. The people on the bridge say that the
boat is moving. The water says nothing, and is gone before anybody has asked it. In the winter the
river is ice, and the boat stands still, and the people on the bridge look at the boat and wait for
the water. In the spring the water is here again, and nobody can say whether it is the same water.
"""


def answer(id: str, question: str) -> None:
    """Produce the answer's run, until it is complete or somebody stops it."""
    with events.run(channel(id), ttl=KEPT, lease=10) as run:
        for word in words(question):
            run.send(f"{word} ")
            if run.stop_requested:
                break
            time.sleep(current_app.config["WORD_SECONDS"])


def words(question: str) -> Iterator[str]:
    """Make up a text that begins with a word of the question, if the chain knows one."""
    following = defaultdict(list)
    text = TEXT.split()
    for word, after in zip(text, [*text[1:], text[0]], strict=True):
        following[word].append(after)
    word = next((word for word in question.split() if word in following), text[0])
    for _ in range(WORDS):
        yield word
        word = random.choice(following[word])


def channel(id: str) -> str:
    return f"answer:{id}"
