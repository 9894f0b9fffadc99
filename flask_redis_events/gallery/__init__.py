"""The examples from a shell, `python -m flask_redis_events examples`: a list, and one that runs.

`apps` has the project's folder `examples`: in a checkout a symbolic link, in a wheel the files.
"""
