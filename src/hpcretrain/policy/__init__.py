"""Decisions: pure functions of records, counts, arrays, the policy and `now`."""
