"""Sensors: each waits for data, a champion or a decision, deferred by default, and returns what it found."""
