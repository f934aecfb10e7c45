"""Prefect flows: they show and steer what the library does, and may be lost at any time: the truth is the ledger."""
