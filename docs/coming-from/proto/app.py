"""The streams of Proto's document "Redis SSE Examples", in its order, for Flask."""

import time

from flask import Flask, abort, render_template_string, request, session

from flask_redis_events import RedisEvents, ServerSentEvent

app = Flask(__name__)
app.config.from_prefixed_env()
events = RedisEvents(app)


# -- Basic Usage: Simple Message Streaming
@app.get("/stream/users/<int:user_id>")
@events.stream("user:{user_id}:notifications")
def simple(user_id):
    if session.get("user_id") != user_id:
        abort(403)


def notify(user_id, notification):
    return events.emit(f"user:{user_id}:notifications", notification)


# -- With Message Processing
@app.get("/stream/orders")
@events.stream("orders")
def orders():
    def on_message(channel, message, event):
        return ServerSentEvent({"data": message, "timestamp": time.time()}, event="order")

    return on_message


# -- Multiple Channels, Multiple Event Types
@app.get("/stream/dashboard")
@events.stream("orders", "payments", "shipments")
def dashboard():
    names = {"orders": "order", "payments": "payment", "shipments": "shipment"}
    return lambda channel, message, event: ServerSentEvent(message, event=names[channel])


# -- Complete Examples: User Notifications
@app.get("/stream/notifications")
def notifications():
    if "user_id" not in session:
        abort(401)
    return events.stream_response(
        f"user:{session['user_id']}:notifications",
        lambda channel, message, event: {**message, "server_time": time.time()},
    )


@app.post("/users/<int:user_id>/notifications")
def send_notification(user_id):
    notify(user_id, request.get_json())
    return {"sent": True}


# -- Live Chat
@app.get("/stream/rooms/<room>")
@events.stream("chat:room:{room}", backlog=20)
def chat(room):
    def on_message(channel, message, event):
        app.logger.info("%s: %s", room, message)
        return {"room": room, "timestamp": time.time(), **message}

    return on_message


@app.post("/rooms/<room>")
def say(room):
    return {"id": events.emit(f"chat:room:{room}", request.get_json())}


# -- Job Progress Tracking
@app.get("/stream/jobs/<job>")
@events.stream("job:{job}:progress", backlog=1)
def progress(job):
    def on_message(channel, message, event):
        if message["status"] in ("completed", "failed"):
            event.message({**message, "percent": 100, "message": message.get("message", "Done")})
            return False
        return message

    return on_message


# -- Live Dashboard Metrics
@app.get("/stream/metrics")
@events.stream("metrics:users", "metrics:orders", "metrics:performance", overflow="latest")
def metrics():
    def on_message(channel, message, event):
        return {"metric": channel.removeprefix("metrics:"), **message}

    return on_message


def publish_metrics(values):
    now = time.time()
    pairs = [(f"metrics:{name}", {"value": v, "timestamp": now}) for name, v in values.items()]
    return events.emit_many(pairs)


# -- Advanced Patterns: Conditional Streaming
@app.get("/stream/urgent")
@events.stream("events")
def urgent():
    return lambda channel, message, event: message if message["priority"] >= 5 else None


# -- Rate Limiting
@app.get("/stream/slowly")
@events.stream("updates")
def slowly():
    sent_at = 0.0

    def on_message(channel, message, event):
        nonlocal sent_at
        if time.monotonic() - sent_at < 1.0:
            return None
        sent_at = time.monotonic()
        return message

    return on_message


# -- Message Aggregation: a batch of ten, or after five seconds
@app.get("/stream/batches")
@events.stream("channel1", "channel2", "channel3")
def batches():
    def pull(messages):
        while True:
            first = messages.get()
            batch, until = [{"channel": messages.channel, "data": first}], time.monotonic() + 5
            while len(batch) < 10 and (left := until - time.monotonic()) > 0:
                if (message := messages.get(timeout=left)) is not None:
                    batch.append({"channel": messages.channel, "data": message})
            yield {"batch": batch, "count": len(batch)}

    return pull


# -- Timeout/Heartbeat: timers of the extension, which run while no message comes
@app.get("/stream/timed")
@events.stream("notifications", heartbeat=30, max_age=1800)
def timed():
    """A heartbeat after 30 idle seconds, and a new check of this view after 30 minutes."""


# -- serverEvent(): Periodic Updates
@app.get("/stream/load")
@events.poll(interval=1.0, shared=True)
def load():
    def latest(event):
        with open("/proc/loadavg") as file:
            return {"load": float(file.read().split()[0])}

    return latest


# -- redisEvent(): Event-Driven Updates
@app.get("/stream/updates")
@events.stream("updates")
def updates():
    """Every message, as it was emitted."""


# -- Client-Side JavaScript
@app.get("/")
def page():
    session["user_id"] = 123
    with open(f"{app.root_path}/page.html") as file:
        return render_template_string(file.read())
