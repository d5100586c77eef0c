"""All plans of a bundle, over the double of TensorRT: built, compared, kept, and tracked with."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

from examples.puppets.clip import ClipOptions, render
from flowtrack.errors import BundleError, EngineError, ExportError, OptionError
from flowtrack.export.compiling import BundleCompiler, CompileOptions, compile_bundle, fitted
from flowtrack.export.profiles import FrameSizes
from flowtrack.export.tensorrt import BuildOptions
from flowtrack.runtime.bundle import open_bundle, write_bundle
from flowtrack.runtime.engines import tensorrt as engines
from flowtrack.runtime.engines.tensorrt.device import open_gpu
from flowtrack.runtime.engines.tensorrt.inspection import inspect_plan
from flowtrack.runtime.pipeline import open_pipeline
from flowtrack.structs import Frame
from tests.evaluation.deployed.puppet_samples import HEIGHT, WIDTH, make_bundle
from tests.support.graphs import constant, network_file, tiny_bundle
from tests.support.tensorrt_double import MAGIC, tensorrt_double

BUCKETS = (1, 2, 4)


@pytest.fixture(scope="module")
def frames():
    images = [image for image, _ in render(ClipOptions(WIDTH, HEIGHT, frames=6))]
    return [Frame(index, index / 8, image) for index, image in enumerate(images)]


@pytest.fixture(scope="module")
def puppets(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("compiling") / "puppets.bundle")


@pytest.fixture(params=["10.16.1.11", "11.4.0.106"])
def world(request, monkeypatch):
    with tensorrt_double(monkeypatch, request.param) as world:
        yield world
        assert world.stack == []


def compiled(bundle, clip, place=None, **options):
    asked = CompileOptions(**{"buckets": BUCKETS, **options})
    return compile_bundle(bundle, open_gpu(0), asked, clip[:2], place)


def test_a_compiled_bundle_tracks_as_on_the_cpu(world, puppets, frames, tmp_path):
    built = compiled(open_bundle(puppets), frames, tmp_path / "fast.zip")
    assert [(item.part, item.built) for item in built] == [("detector", True), ("pose", True)]
    bundle = open_bundle(tmp_path / "fast.zip")
    bundle.verify()
    assert open_bundle(puppets).plans() == {}
    slow = open_pipeline(bundle, device="cpu", threads=1)
    fast = open_pipeline(bundle, device="tensorrt")
    other = open_pipeline(bundle, device="auto")
    assert "the bundle has plans" in other.device
    assert "Test GPU (GPU 0)" in fast.device
    expected = [found for _, found in slow.run(frames)]
    assert sum(len(found.tracks) for found in expected) > 6
    for pipeline in (fast, other):
        for want, (_, found) in zip(expected, pipeline.run(frames), strict=True):
            np.testing.assert_array_equal(found.tracks.id, want.tracks.id)
            np.testing.assert_allclose(found.poses.xy, want.poses.xy, atol=1e-4)
    assert world.calls["cuGraphLaunch"] > 12


def test_networks_of_frame_in_form_read_one_upload_of_each_frame(world, puppets, frames, tmp_path):
    pytest.importorskip("onnx")
    from flowtrack.export.frame_bundle import frame_bundle

    images = [frame.image for frame in frames]
    framed = frame_bundle(open_bundle(puppets), tmp_path / "framed", images[:2])
    sizes = FrameSizes((64, 64), (HEIGHT, WIDTH), (400, 400))
    compiled(framed, frames, frames=sizes)
    record = open_bundle(tmp_path / "framed").plans()["pose"]
    assert record.tensors["frame"] == "uint8 ?x?x3"
    assert (record.fingerprint.batched, record.fingerprint.buckets) == (("affine",), BUCKETS)
    slow = open_pipeline(framed, device="cpu", threads=1)
    fast = open_pipeline(framed, device="tensorrt")
    world.calls.clear()
    for (_, want), (_, found) in zip(slow.run(frames), fast.run(frames), strict=True):
        np.testing.assert_array_equal(found.tracks.id, want.tracks.id)
        np.testing.assert_allclose(found.poses.xy, want.poses.xy, atol=1e-4)
    # To the GPU: each frame once, and its crop matrices; on the GPU: the frame to both networks.
    assert world.calls["memcpy_htod_async"] == 2 * len(frames)
    assert world.calls["memcpy_dtod_async"] == 2 * len(frames)


def test_frames_to_compare_on_are_resized_to_what_a_plan_takes(frames):
    one = FrameSizes(*[(128, 200)] * 3)
    assert {frame.image.shape for frame in fitted(frames, one)} == {(128, 200, 3)}
    assert [frame.index for frame in fitted(frames, one)] == [frame.index for frame in frames]
    assert fitted(frames, FrameSizes()) == frames


def test_two_pipelines_run_side_by_side_in_threads(world, puppets, frames, tmp_path):
    compiled(open_bundle(puppets), frames, tmp_path / "fast")
    bundle = open_bundle(tmp_path / "fast")
    expected = [
        found.tracks.id.tolist() for _, found in open_pipeline(bundle, device="cpu").run(frames)
    ]
    pipelines = [open_pipeline(bundle, device="tensorrt:0") for _ in range(2)]
    found = {}

    def work(index):
        results = pipelines[index % 2].run(frames)
        found[index] = [result.tracks.id.tolist() for _, result in results]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(3), expected)


def test_the_record_beside_a_plan(world, puppets, frames, tmp_path):
    compiled(open_bundle(puppets), frames, tmp_path / "fast", build=BuildOptions(level=5))
    text = (tmp_path / "fast" / "engines" / "pose.plan.json").read_text()
    facts = json.loads(text)
    assert facts["fingerprint"]["machine"]["gpu"] == "Test GPU"
    assert facts["fingerprint"]["level"] == 5
    assert facts["tensors"] == {"crops": "uint8 ?x256x192x3", "keypoints": "float32 ?x17x3"}
    assert facts["comparison"]["mean_oks"] == pytest.approx(1.0)
    assert facts["comparison"]["batches"] == list(BUCKETS)
    assert facts["comparison"]["frames"] == 2
    assert (tmp_path / "fast" / "engines" / "pose.plan").read_bytes().startswith(MAGIC)
    detector = open_bundle(tmp_path / "fast").plans()["detector"]
    assert detector.comparison["boxes"] > 2
    assert detector.comparison["mean_iou"] == pytest.approx(1.0)
    assert detector.fingerprint.buckets == (1,)


def test_plans_that_match_are_left_alone(world, puppets, frames, tmp_path):
    place = tmp_path / "fast"
    compiled(open_bundle(puppets), frames, place)
    builds = world.calls["build_serialized_network"]
    before = (place / "engines" / "pose.plan.json").stat().st_mtime_ns
    again = compiled(open_bundle(place), frames)
    assert [item.built for item in again] == [False, False]
    assert world.calls["build_serialized_network"] == builds
    assert (place / "engines" / "pose.plan.json").stat().st_mtime_ns == before
    more = compiled(open_bundle(place), frames, buckets=(1, 8))
    assert [item.built for item in more] == [False, True]
    assert open_bundle(place).plans()["pose"].fingerprint.buckets == (1, 8)
    forced = compiled(open_bundle(place), frames, rebuild=True, parts=("detector",), buckets=None)
    assert [(item.part, item.built) for item in forced] == [("detector", True)]
    assert open_bundle(place).plans()["pose"].fingerprint.buckets == (1, 8)


@pytest.mark.parametrize("damage", ["plan", "record", "graph"])
def test_damaged_plans_are_built_again(world, puppets, frames, tmp_path, damage):
    place = tmp_path / "fast"
    compiled(open_bundle(puppets), frames, place)
    if damage == "plan":
        (place / "engines" / "pose.plan").write_bytes(b"noise")
    elif damage == "record":
        (place / "engines" / "pose.plan.json").write_text("noise")
    else:
        change_detector(place)
    with pytest.raises(BundleError, match="--rebuild"):
        open_pipeline(place, device="tensorrt")
    if damage == "record":
        with pytest.raises(BundleError, match="--rebuild"):
            compiled(open_bundle(place), frames)
    built = compiled(open_bundle(place), frames, rebuild=damage == "record")
    assert any(item.built for item in built)
    open_pipeline(place, device="tensorrt")


def change_detector(place):
    """Put another detector into a bundle by hand; its plan stays that of the old one."""
    data = constant(
        {"image": ("uint8", (1, 64, 64, 3))},
        {"boxes": np.float32([[[4, 4, 40, 60]]]), "scores": np.float32([[0.9]])},
    )
    manifest = open_bundle(place).manifest
    made, _ = tiny_bundle()
    file = network_file(data, manifest.detector.file.path, made.detector.file.input)
    changed = replace(manifest, detector=replace(made.detector, file=file))
    (place / "manifest.json").write_text(changed.to_json())
    (place / file.path).write_bytes(data)


@pytest.mark.parametrize(("gpu", "version"), [("RTX 4090", "10.16.1.11"), ("Test GPU", "10.9.0.3")])
def test_a_bundle_of_another_machine_says_how_to_mend_it(
    monkeypatch, puppets, frames, tmp_path, gpu, version
):
    with tensorrt_double(monkeypatch) as world:
        compiled(open_bundle(puppets), frames, tmp_path / "fast")
    with tensorrt_double(monkeypatch, version) as world:
        world.gpus[0] = (gpu, (8, 9) if gpu == "RTX 4090" else (8, 6))
        with pytest.raises(EngineError, match=r"detector\.onnx: .* --rebuild") as caught:
            open_pipeline(tmp_path / "fast", device="tensorrt")
        assert f"this machine has {gpu if gpu == 'RTX 4090' else version}" in str(caught.value)
        built = compiled(open_bundle(tmp_path / "fast"), frames)
        assert all(item.built for item in built)
        open_pipeline(tmp_path / "fast", device="tensorrt")


def test_a_bundle_without_plans_says_how_to_make_them(world, puppets):
    with pytest.raises(
        EngineError, match=r"no TensorRT plan for it; make one with `flowtrack comp"
    ):
        open_pipeline(puppets, device="tensorrt")


class Bent(engines.TensorRTEngine):
    """An engine whose outputs are off."""

    def _run(self, feeds):
        outputs = super()._run(feeds)
        return {name: value + np.float32(40) for name, value in outputs.items()}


def bend(monkeypatch):
    from flowtrack.export import compiling

    straight = compiling.open_tensorrt

    def bent(*arguments):
        engine = straight(*arguments)
        engine.__class__ = Bent
        return engine

    monkeypatch.setattr(compiling, "open_tensorrt", bent)


@pytest.mark.parametrize(
    ("part", "message"),
    [("detector", "boxes have a mean IoU of 0"), ("pose", "poses have a mean OKS of 0")],
)
def test_a_plan_that_differs_from_its_graph_is_not_written(
    world, puppets, frames, tmp_path, monkeypatch, part, message
):
    bend(monkeypatch)
    options = {"parts": (part,), "buckets": BUCKETS if part == "pose" else None}
    with pytest.raises(ExportError, match=f"{message}.*Nothing was written.*--accept REASON"):
        compiled(open_bundle(puppets), frames, tmp_path / "fast", **options)
    assert not (tmp_path / "fast").exists()
    compiled(open_bundle(puppets), frames, tmp_path / "fast", accept="a test", **options)
    record = open_bundle(tmp_path / "fast").plans()[part]
    assert record.comparison["accepted"] == "a test"
    assert message in record.comparison["failure"]


@pytest.mark.parametrize("part", ["detector", "pose"])
def test_frames_that_show_nobody_prove_nothing(world, puppets, tmp_path, part):
    black = [Frame(index, float(index), np.zeros((HEIGHT, WIDTH, 3), np.uint8)) for index in (0, 1)]
    options = {"parts": (part,), "buckets": BUCKETS if part == "pose" else None}
    with pytest.raises(ExportError, match=r"neither finds .* nothing to compare; give others with"):
        compiled(open_bundle(puppets), black, tmp_path / "fast", **options)
    assert not (tmp_path / "fast").exists()


def test_flow_is_compared_and_its_pictures_may_have_any_size(world, frames, tmp_path, monkeypatch):
    manifest, files = tiny_bundle(flow=True)
    nodes_free = constant(
        dict.fromkeys(("previous", "current"), ("float32", ("N", 3, "H", "W"))),
        {"flow": np.ones((1, 2, 16, 16), np.float32)},
    )
    entry = network_file(
        nodes_free, "flow.onnx", replace(manifest.flow.file.input, height=None, width=None)
    )
    manifest = replace(manifest, flow=replace(manifest.flow, file=entry, max_side=128))
    bundle = write_bundle(tmp_path / "tiny", manifest, files | {"flow.onnx": nodes_free})
    sizes = FrameSizes((64, 64), (HEIGHT, WIDTH), (512, 512))
    (built,) = compiled(bundle, frames, parts=("flow",), buckets=None, frames=sizes)
    span = ((1, 3, 64, 64), (1, 3, 128, 128), (1, 3, 128, 128))
    assert built.plan.record.fingerprint.profiles == ({"previous": span, "current": span},)
    assert built.plan.record.comparison["mean_px"] == 0.0
    bend(monkeypatch)
    with pytest.raises(ExportError, match="flow differs by"):
        compiled(bundle, frames, parts=("flow",), buckets=None, rebuild=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ("flow",)}, "has no network for flow; it has detector, pose"),
        ({"buckets": (2, 2)}, "expected different positive batch sizes"),
        ({"buckets": BUCKETS, "parts": ("detector",)}, "buckets are batch sizes of a pose network"),
        ({"frames": FrameSizes()}, "has a fixed picture size; leave the frame size out"),
        ({"accept": " "}, "the reason to accept a plan is empty"),
    ],
)
def test_options_that_cannot_be_or_would_be_ignored_are_refused(world, puppets, options, message):
    with pytest.raises(OptionError, match=message):
        BundleCompiler(open_bundle(puppets), open_gpu(0), CompileOptions(**options))
    assert world.calls["build_serialized_network"] == 0


def test_a_plan_can_be_looked_into(world, puppets, frames, tmp_path):
    compiled(open_bundle(puppets), frames, tmp_path / "fast")
    plan = open_bundle(tmp_path / "fast").read_plan("detector")
    content = inspect_plan(plan.data, plan.record.fingerprint)
    assert content.scratch_bytes == 4096
    assert len(content.layers) > 3
    assert content.types() == {"Half NHWC": len(content.layers)}
    assert content.layers[0].shapes == ((1, 3),)
    other = replace(
        plan.record.fingerprint, machine=replace(plan.record.fingerprint.machine, gpu="Other")
    )
    with pytest.raises(EngineError, match="--rebuild"):
        inspect_plan(plan.data, other)
    with pytest.raises(EngineError, match="TensorRT cannot load the plan"):
        inspect_plan(b"noise", plan.record.fingerprint)
