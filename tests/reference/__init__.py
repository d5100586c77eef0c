"""Slow, obvious oracles that the fast code is held against."""
