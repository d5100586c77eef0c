"""The CUDA provider gives what the CPU gives. Needs an NVIDIA GPU and onnxruntime-gpu."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples.puppets.clip import ClipOptions, render
from examples.puppets.demo import make_bundle
from flowtrack.runtime import open_pipeline
from flowtrack.runtime.engines.driver import cuda_driver_version
from flowtrack.runtime.engines.onnxruntime import PROVIDERS, import_onnxruntime
from flowtrack.structs import Frame

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    if cuda_driver_version() is None:
        pytest.skip("no CUDA driver with a device on this machine")
    if PROVIDERS["cuda"] not in import_onnxruntime().get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA provider: pip install 'flowtrack[gpu]'")
    return make_bundle(tmp_path_factory.mktemp("puppets"), ClipOptions())


def test_cuda_tracks_as_the_cpu_does(bundle):
    clip = [image for image, _ in render(ClipOptions(frames=15))]
    frames = [Frame(i, i / 25, image) for i, image in enumerate(clip)]
    results = {}
    for device in ("cpu", "cuda"):
        pipeline = open_pipeline(bundle, device=device)
        results[device] = [tracked for _, tracked in pipeline.run(frames)]
    for cpu, cuda in zip(results["cpu"], results["cuda"], strict=True):
        np.testing.assert_array_equal(cpu.tracks.id, cuda.tracks.id)
        np.testing.assert_allclose(cpu.poses.xy, cuda.poses.xy, atol=0.05, equal_nan=True)
