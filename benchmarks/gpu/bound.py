"""The bound: the same networks in PyTorch, half precision, recorded as a CUDA graph."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from benchmarks.gpu import NAME, GpuEffort
from benchmarks.gpu.latency import timed
from benchmarks.gpu.machine import require
from benchmarks.gpu.subjects import Subject, feeds
from benchmarks.records import Record
from flowtrack.runtime.engines import open_engine

if TYPE_CHECKING:
    import torch
    from torch import nn


def bound(subject: Subject, device: str, effort: GpuEffort) -> Iterator[Record]:
    """Milliseconds from arrays to arrays and of the network alone, per batch size.

    On the CPU nothing is halved or recorded. Subjects without a PyTorch original give nothing.
    """
    if subject.module is None:
        return
    require(device, torch=True)
    import torch

    module = _prepared(subject.module(), device)
    engine = open_engine(subject.content, "cpu")
    for batch in subject.batches(effort.buckets):
        given = [torch.from_numpy(value)
                 for value in feeds(engine, subject, batch, effort.size).values()]  # fmt: skip
        whole, alone = _recorded(module, given, device)
        place = {"network": subject.name, "batch": batch,
                 "precision": "fp16" if device == "cuda" else "fp32"}  # fmt: skip
        for name, work in (("PyTorch, run", whole), ("PyTorch, network alone", alone)):
            yield Record(NAME, name, place, "ms", timed(work, effort), None, subject.networks)


def _prepared(module: nn.Module, device: str) -> nn.Module:
    """A module on the device; on a GPU with half weights, in the layout of tensor cores."""
    import torch
    from torch import nn

    module = copy.deepcopy(module).eval().to(device)
    if device == "cuda":
        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                part.half()
        module = module.to(memory_format=torch.channels_last)
    return module


def _recorded(
    module: nn.Module, given: list[torch.Tensor], device: str
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Works that copy in, run and copy out, and that only run; both wait for the device."""
    import torch

    pinned = [value.pin_memory() if device == "cuda" else value for value in given]
    fixed = [value.to(device) for value in pinned]

    def forward() -> Any:
        # Weights are half already; nothing cast may be kept for later under a recording.
        half = torch.autocast("cuda", torch.float16, device == "cuda", cache_enabled=False)
        with torch.no_grad(), half:
            return module(*fixed)

    if device == "cuda":
        replay, result = _graph(forward)
    else:
        replay, result = forward, forward()
    outputs = result if isinstance(result, tuple) else (result,)

    def alone() -> None:
        replay()
        if device == "cuda":
            torch.cuda.synchronize()

    def whole() -> list[torch.Tensor]:
        for target, source in zip(fixed, pinned, strict=True):
            target.copy_(source, non_blocking=True)
        replay()
        return [value.float().cpu() for value in outputs]

    return whole, alone


def _graph(forward: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """The forward pass as a CUDA graph, and the tensors that each replay writes."""
    import torch

    torch.backends.cudnn.benchmark = True
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # libraries choose their kernels before the recording
            forward()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = forward()
    return graph.replay, result
