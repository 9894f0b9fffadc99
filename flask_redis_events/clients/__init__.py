"""Who listens: clients, their audiences, and what waits for them."""

from __future__ import annotations

from .audience import Audience
from .finite import Finite
from .outcomes import Outcomes
from .owner import Owner
from .registry import Registry
from .shared import Shared
from .stateful import Stateful
from .subscription import Subscription
from .ticker import Ticker

__all__ = [
    "Audience",
    "Finite",
    "Outcomes",
    "Owner",
    "Registry",
    "Shared",
    "Stateful",
    "Subscription",
    "Ticker",
]
