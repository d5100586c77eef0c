"""Pose, flow and detection networks become a verified bundle; a runtime tracks people with it."""

__version__ = "0.1.0"
