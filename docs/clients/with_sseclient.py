import json
import time

import requests
from sseclient import SSEClient


def listen(url, show, load):
    last_id, retry = "", 3.0
    while True:
        try:
            headers = {"Accept": "text/event-stream", "Last-Event-ID": last_id}
            # The read timeout, 45 seconds, is three times REDIS_EVENTS_HEARTBEAT.
            with requests.get(url, headers=headers, stream=True, timeout=(10, 45)) as response:
                if response.status_code in (204, 401, 403):
                    return
                response.raise_for_status()
                for event in SSEClient(response).events():
                    last_id = event.id or last_id
                    retry = retry if event.retry is None else int(event.retry) / 1000
                    if event.event == "message":
                        show(json.loads(event.data))
                    elif event.event == "reset":
                        load()
                    elif event.event == "end":
                        return
        except requests.RequestException:
            pass  # the connection was lost, or the answer is not a stream
        time.sleep(retry)
