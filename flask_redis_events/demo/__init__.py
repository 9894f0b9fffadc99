"""The demo, `python -m flask_redis_events demo`: figures of this machine, a chat and jobs, live."""
