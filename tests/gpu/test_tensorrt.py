"""TensorRT's plans give what the graphs give. Needs an NVIDIA GPU, TensorRT and pycuda."""

from __future__ import annotations

import pytest

from flowtrack.runtime.bundle import open_bundle
from flowtrack.runtime.engines.tensorrt import tensorrt_missing
from flowtrack.runtime.pipeline import open_pipeline
from tests.gpu import checks

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def tensorrt():
    """Leaves the tests out where TensorRT is missing."""
    reason = tensorrt_missing()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def compiled(tensorrt, bundles, clip_frames, tmp_path_factory):
    """Compiles a bundle of this name, once."""
    from flowtrack.export.compiling import CompileOptions, compile_bundle
    from flowtrack.export.tensorrt import BuildOptions
    from flowtrack.runtime.engines.tensorrt.device import open_gpu

    folder, made = tmp_path_factory.mktemp("plans"), {}

    def compiling(name):
        if name not in made:
            options = CompileOptions(buckets=(1, 4), build=BuildOptions(level=1))
            compile_bundle(bundles[name], open_gpu(0), options, clip_frames[:3], folder / name,
                           lambda _: folder / "timing.cache")  # fmt: skip
            made[name] = open_bundle(folder / name)
        return made[name]

    return compiling


@pytest.mark.parametrize("form", ["default", "fp16 frame-in"])
def test_plans_track_as_the_cpu_does(compiled, clip_frames, form):
    checks.tracks_as_the_cpu_does(compiled(form), "tensorrt", clip_frames)


@pytest.mark.parametrize("form", ["default", "fp16 frame-in"])
def test_threads_and_pipelines_share_nothing(compiled, clip_frames, form):
    one, two = (open_pipeline(compiled(form), device="tensorrt") for _ in range(2))
    checks.shares_nothing_between_threads([one] * 4, clip_frames)
    checks.shares_nothing_between_threads([one, two], clip_frames)
    checks.overlaps_as_it_steps(one, clip_frames)
