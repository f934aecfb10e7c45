"""Adapters: one door to each outside system."""
