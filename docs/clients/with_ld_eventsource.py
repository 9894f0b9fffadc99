import json

from ld_eventsource import SSEClient
from ld_eventsource.config import ConnectStrategy, ErrorStrategy
from ld_eventsource.errors import HTTPStatusError


def after(error):
    """Come back after everything but a refusal, also after `reconnect`, which is no error."""
    refused = isinstance(error, HTTPStatusError) and error.status in (204, 401, 403)
    return (ErrorStrategy.FAIL if refused else ErrorStrategy.CONTINUE), None


def listen(url, show, load):
    # The timeout is three times REDIS_EVENTS_HEARTBEAT; without one, a dead connection stays.
    connect = ConnectStrategy.http(url, urllib3_request_options={"timeout": 45})
    with SSEClient(connect, error_strategy=ErrorStrategy.from_lambda(after)) as client:
        for event in client.events:
            if event.event == "message":
                show(json.loads(event.data))
            elif event.event == "reset":
                load()
            elif event.event == "end":
                return
