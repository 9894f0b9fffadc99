"""The audit: clients, emitters and many faults for some minutes, then a count of every message.

The ids that `emit` returned are the truth against which clients are judged; neither Redis nor the
package is believed.
"""
