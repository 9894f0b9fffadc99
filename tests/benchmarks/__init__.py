"""The costs of this project beside those of others: `python -m tests.benchmarks`, in minutes.

The servers under test have one core; the load generator, Redis and emitters have another.  All
servers run at once and are measured in turn, in several rounds, so that noise on the machine
affects all of them.
"""
