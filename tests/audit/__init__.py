"""Hours of trouble in minutes: clients, emitters and faults, and then a count of every message."""
