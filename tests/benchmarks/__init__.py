"""What it costs, beside what others cost: `python -m tests.benchmarks`, in minutes.

Each server under test has one core; the load, Redis and whoever emits have another.  All of them
run at once and are measured in turn, several rounds long, so that a noisy machine is noisy for all.
"""
