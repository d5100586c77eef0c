"""Everything that needs a GPU, in one command: `python -m benchmarks.gpu --out FILE.json`.

Each module measures one thing and takes the device as an argument: on `cpu` all of it runs with
tiny networks and counts, which is how it is tested where there is no GPU; on `cuda` only the word
differs.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowtrack.runtime.batching import BUCKETS

NAME = "gpu"


@dataclass(frozen=True)
class GpuEffort:
    """How much is measured.

    Attributes:
        calls: timed runs of a network; the runs before them that are not counted.
        warmup: runs before, in which libraries choose kernels and graphs are recorded.
        frames: that the memory is watched over.
        clip: frames of the clip that is tracked.
        passes: of that clip.
        size: (height, width) of its frames.
        buckets: batch sizes.
    """

    calls: int = 300
    warmup: int = 30
    frames: int = 10_000
    clip: int = 60
    passes: int = 3
    size: tuple[int, int] = (1080, 1920)
    buckets: tuple[int, ...] = BUCKETS


FULL = GpuEffort()
QUICK = GpuEffort(calls=30, warmup=5, frames=300, clip=12, passes=1, buckets=(1, 4))
