"""Algorithm 1 of the paper: numba kernels, and the state of one video that they work on."""

from flowtrack.tracker.options import TABLE_5, Table5Row, TrackerOptions, preset
from flowtrack.tracker.tracker import FlowTracker, warmup

__all__ = ["TABLE_5", "FlowTracker", "Table5Row", "TrackerOptions", "preset", "warmup"]
