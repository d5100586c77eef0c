"""Optimisation profiles: one batch size each, sizes from the manifest, the frames or the graph."""

from dataclasses import replace

import numpy as np
import pytest

from flowtrack.errors import ExportError, OptionError
from flowtrack.export.profiles import BUCKETS, FrameSizes, check_buckets, profiles_for
from flowtrack.runtime.engines import TensorSpec
from flowtrack.runtime.manifest import FlowSpec, InputSpec
from tests.support.graphs import tiny_bundle

FRAME = {"form": "frame", "color": "bgr"}
U8, F32 = np.dtype(np.uint8), np.dtype(np.float32)


def manifest(part="pose", flow=None, **changes):
    """A manifest in which one part is fed otherwise."""
    made, _ = tiny_bundle(flow=True)
    spec = getattr(made, part)
    spec = replace(spec, file=replace(spec.file, input=InputSpec(**changes)), **(flow or {}))
    return replace(made, **{part: spec})


def fixed(*shape):
    return (shape, shape, shape)


CROPS = manifest(names=("crops",), height=64, width=48)


def test_a_pose_network_gets_a_profile_for_each_bucket():
    profiles, batched = profiles_for(CROPS, "pose", [TensorSpec("crops", U8, ("N", 64, 48, 3))])
    assert batched == ("crops",)
    assert profiles == tuple({"crops": fixed(size, 64, 48, 3)} for size in BUCKETS)


def test_buckets_are_sorted_and_those_of_the_caller():
    spec = [TensorSpec("crops", U8, (None, 64, 48, 3))]
    profiles, _ = profiles_for(CROPS, "pose", spec, (8, 1))
    assert [profile["crops"][0][0] for profile in profiles] == [1, 8]


@pytest.mark.parametrize("wrong", [(), (0, 1), (-1,), (2, 2)])
def test_wrong_buckets_are_refused(wrong):
    with pytest.raises(OptionError, match="expected different positive batch sizes"):
        check_buckets(wrong)


def test_a_fixed_batch_is_no_batch():
    profiles, batched = profiles_for(CROPS, "pose", [TensorSpec("crops", U8, (8, 64, 48, 3))])
    assert (profiles, batched) == (({"crops": fixed(8, 64, 48, 3)},), ())


def test_detector_and_flow_see_one_frame_at_a_time():
    spec = manifest("detector", names=("image",), height=64, width=64)
    profiles, batched = profiles_for(spec, "detector", [TensorSpec("image", U8, ("N", 64, 64, 3))])
    assert (profiles, batched) == (({"image": fixed(1, 64, 64, 3)},), ("image",))


@pytest.mark.parametrize(
    ("layout", "shape", "expected"),
    [
        ("nhwc", ("N", "H", "W", 3), ((1, 64, 64, 3), (1, 1080, 1920, 3), (1, 2160, 3840, 3))),
        ("nchw", ("N", 3, "H", "W"), ((1, 3, 64, 64), (1, 3, 1080, 1920), (1, 3, 2160, 3840))),
        ("nchw", (3, "H", "W"), ((3, 64, 64), (3, 1080, 1920), (3, 2160, 3840))),
        ("nhwc", (1, "H", 640, 3), ((1, 64, 640, 3), (1, 1080, 640, 3), (1, 2160, 640, 3))),
    ],
)
def test_a_free_picture_size_is_that_of_frames(layout, shape, expected):
    spec = manifest("detector", names=("image",), layout=layout)
    profiles, _ = profiles_for(spec, "detector", [TensorSpec("image", U8, shape)])
    assert profiles == ({"image": expected},)


def test_the_manifest_may_fix_what_the_graph_leaves_free():
    spec = manifest("detector", names=("image",), height=416, width=640)
    profiles, _ = profiles_for(spec, "detector", [TensorSpec("image", U8, ("N", "H", "W", 3))])
    assert profiles == ({"image": fixed(1, 416, 640, 3)},)


def test_flow_in_pictures_is_reduced_as_the_runtime_does_it():
    spec = manifest("flow", {"max_side": 512}, names=("previous", "current"))
    both = [TensorSpec(name, U8, ("N", "H", "W", 3)) for name in ("previous", "current")]
    profiles, batched = profiles_for(spec, "flow", both)
    span = ((1, 64, 64, 3), (1, 256, 512, 3), (1, 512, 512, 3))
    assert profiles == ({"previous": span, "current": span},)
    assert batched == ("previous", "current")
    assert isinstance(spec.flow, FlowSpec)


def test_frame_in_networks_take_frames_as_they_are_and_matrices_in_batches():
    sizes = FrameSizes((100, 200), (300, 400), (500, 600))
    span = ((100, 200, 3), (300, 400, 3), (500, 600, 3))
    frame = TensorSpec("frame", U8, ("H", "W", 3))
    pose = manifest(names=("frame", "affine"), height=64, width=48, **FRAME)
    matrices = TensorSpec("affine", F32, ("N", 2, 3))
    # The size in such a manifest is that of the crops inside the graph.
    profiles, batched = profiles_for(pose, "pose", [frame, matrices], (1, 4), sizes)
    assert batched == ("affine",)
    assert profiles == tuple({"frame": span, "affine": fixed(n, 2, 3)} for n in (1, 4))
    flow = manifest("flow", names=("previous", "current"), **FRAME)
    both = [replace(frame, name=name) for name in ("previous", "current")]
    profiles, batched = profiles_for(flow, "flow", both, frames=sizes)
    assert (profiles, batched) == (({"previous": span, "current": span},), ())


def test_other_free_axes_are_refused():
    with pytest.raises(ExportError, match=r"axis 3 is free and is neither batch, height nor width"):
        profiles_for(CROPS, "pose", [TensorSpec("crops", U8, ("N", 64, 48, "C"))])


@pytest.mark.parametrize(
    "sizes",
    [((0, 1), (1, 1), (2, 2)), ((2, 2), (1, 2), (3, 3)), ((1, 1), (2, 4), (2, 3))],
)
def test_wrong_frame_sizes_are_refused(sizes):
    with pytest.raises(OptionError, match="each side ascending"):
        FrameSizes(*sizes)
