"""Flows of Prefect: they observe and steer; the truth is in the ledger, and nothing is lost with a server."""
