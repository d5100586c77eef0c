"""The bundle and the clip of the GPU tests; their reasons to be skipped."""

from __future__ import annotations

import pytest

from benchmarks.gpu import GpuEffort
from benchmarks.gpu.machine import missing
from benchmarks.gpu.subjects import half_bundle
from benchmarks.gpu.tracking import clip
from flowtrack.export.frame_bundle import frame_bundle
from flowtrack.runtime.bundle import open_bundle
from flowtrack.runtime.default import default_bundle_path


@pytest.fixture(scope="session")
def cuda() -> str:
    """The device, where ONNX Runtime can use it."""
    reason = missing("cuda")
    if reason is not None:
        pytest.skip(reason)
    return "cuda"


@pytest.fixture(scope="session")
def clip_frames():
    """Rendered people."""
    return clip(GpuEffort(clip=15, size=(270, 480)))


@pytest.fixture(scope="session")
def bundles(tmp_path_factory, clip_frames):
    """The default bundle by form and precision."""
    folder = tmp_path_factory.mktemp("bundles")
    compared = [frame.image for frame in clip_frames[:3]]
    plain = open_bundle(default_bundle_path())
    half = half_bundle(plain, folder / "half")
    return {
        "default": plain,
        "frame-in": frame_bundle(plain, folder / "framed", compared),
        "fp16": half,
        "fp16 frame-in": frame_bundle(half, folder / "half framed", compared),
    }
