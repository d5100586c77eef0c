"""What it costs to bring frames to the device and results back."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.gpu import NAME, GpuEffort
from benchmarks.gpu.latency import timed
from benchmarks.gpu.machine import require
from benchmarks.records import Record

SIZES = ((1080, 1920), (2160, 3840))
"""(height, width) of frames."""


def transfers(device: str, effort: GpuEffort) -> Iterator[Record]:
    """Milliseconds to copy a frame, from ordinary and pinned memory, there and back."""
    require(device, torch=True)
    import torch

    for height, width in SIZES:
        there = torch.empty((height, width, 3), dtype=torch.uint8, device=device)
        for pinned in (False, True):
            if pinned and device == "cpu":
                continue
            here = torch.zeros((height, width, 3), dtype=torch.uint8, pin_memory=pinned)
            place = {"frame": f"{width}x{height}", "pinned": pinned}
            for name, target, source in (("upload", there, here), ("download", here, there)):

                def copy(target: torch.Tensor = target, source: torch.Tensor = source) -> None:
                    target.copy_(source)
                    if device == "cuda":
                        torch.cuda.synchronize()

                yield Record(NAME, name, place, "ms", timed(copy, effort))
