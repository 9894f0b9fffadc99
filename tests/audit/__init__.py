"""The audit: clients, emitters and many faults for some minutes, then a count of every message.

The ids that `emit` returned are the truth against which clients are judged; neither Redis nor the
package is believed.

Read `worlds` first (a Redis and its faults, which are in `faults` and `losses`), then `audit` (one
run of it).  The faults are given a `scene`: servers (`app`, `stores`), emitters (`emitting`),
clients (`page`), and the stage, where processes produce runs for viewers (`producing`, `viewing`).
A `scribe` looks at Redis all the time.  The judgement is pure: `ledger` makes the true list of
messages, `fate` knows until when Redis had each of them, and `verdict` and `runs` compare that with
what each client received.  `soak` stands alone.
"""
