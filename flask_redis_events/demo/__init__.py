"""The extension at work on this machine's own figures: `python -m flask_redis_events demo`."""
