"""Drift measures, metrics and tests of difference: pure numpy and scipy, unaware of the rest of hpcretrain."""
