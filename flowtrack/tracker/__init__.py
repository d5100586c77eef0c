"""Algorithm 1 of the paper: numba kernels, and the state of one video that they work on.

The options are light to import; `flowtrack.tracker.tracker` brings numba.
"""

from flowtrack.tracker.options import TABLE_5, Table5Row, TrackerOptions, preset

__all__ = ["TABLE_5", "Table5Row", "TrackerOptions", "preset"]
