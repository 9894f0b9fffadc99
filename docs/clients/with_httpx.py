import json
import time

import httpx
from httpx_sse import connect_sse


def listen(url, show, load):
    last_id, retry = "", 3.0
    # The read timeout is three times REDIS_EVENTS_HEARTBEAT; httpx's own is 5 seconds.
    with httpx.Client(timeout=httpx.Timeout(10, read=45)) as client:
        while True:
            try:
                headers = {"Last-Event-ID": last_id}
                with connect_sse(client, "GET", url, headers=headers) as source:
                    if source.response.status_code in (204, 401, 403):
                        return
                    for event in source.iter_sse():
                        last_id = event.id or last_id
                        retry = retry if event.retry is None else event.retry / 1000
                        if event.event == "message":
                            show(json.loads(event.data))
                        elif event.event == "reset":
                            load()
                        elif event.event == "end":
                            return
            except httpx.TransportError:
                pass  # the connection was lost, or the answer is not a stream
            time.sleep(retry)
