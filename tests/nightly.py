"""A further class, as a policy names it, for tests."""

from __future__ import annotations

NIGHTLY = """
[classes.nightly]
below = "standard"
cooldown_batches = 1
fits_per_30d = 12.0

[[classes.nightly.when]]
score = 200
reason = "the night has room"
"""

ADMISSION = """
[admission]
most_running = 4
silent_hours = 1000
[admission.urgent]
most_running = 2
delay_hours = 0
reason = "an incident waits for nobody"
[admission.standard]
most_running = 2
delay_hours = 24
reason = "a day's work may go first"
[admission.background]
most_running = 1
delay_hours = 72
reason = "three days may go first"
[admission.nightly]
most_running = 1
delay_hours = 48
reason = "two nights may go first"
"""
