"""Hours of trouble in minutes: clients, emitters and faults, and then a count of every message.

What is true is what `emit` returned, and not what Redis or the package say of it.
"""
