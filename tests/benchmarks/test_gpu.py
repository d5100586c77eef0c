"""The GPU suite on the CPU: tiny networks and counts, but every line that a GPU would run."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from benchmarks.gpu import GpuEffort, latency, plans, suite, tracking
from benchmarks.gpu import __main__ as command
from benchmarks.gpu.bound import bound
from benchmarks.gpu.latency import differences, network
from benchmarks.gpu.machine import facts, memory_mb, missing, require
from benchmarks.gpu.subjects import Subject, feeds, half_bundle, halved, of_bundle
from benchmarks.gpu.transfers import transfers
from benchmarks.records import Record, Report, Skipped
from flowtrack.errors import EngineError
from flowtrack.export.frame_bundle import frame_bundle
from flowtrack.export.precision import half_graph
from flowtrack.runtime.bundle import open_bundle, write_bundle
from flowtrack.runtime.default import default_bundle_path
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.engines.driver import cuda_driver_version
from flowtrack.runtime.engines.onnxruntime import open_onnxruntime
from flowtrack.runtime.pipeline import open_pipeline
from flowtrack.structs import Frame
from tests.support.graphs import tiny_bundle

TINY = GpuEffort(calls=3, warmup=1, frames=40, clip=4, passes=1, size=(96, 128), buckets=(1, 2))


@pytest.fixture(scope="module")
def frames():
    return tracking.clip(TINY)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory, frames):
    folder = tmp_path_factory.mktemp("bundles")
    plain = write_bundle(folder / "plain", *tiny_bundle(flow=True))
    framed = frame_bundle(plain, folder / "framed", [frame.image for frame in frames])
    return {"tiny": plain, "tiny frame-in": framed}


class Mean(nn.Module):
    """A network in PyTorch that is quickly run."""

    def forward(self, crops):
        return crops.float().mean((1, 2))


def test_every_network_is_compared_and_timed_at_its_batches(bundles):
    for name, bundle in bundles.items():
        for subject in of_bundle(bundle, name):
            records = list(network(subject, "cpu", TINY))
            names = {record.name for record in records}
            framed = {"run, frame placed"} if "frame-in" in name else set()
            assert names == {"difference to the CPU", "run"} | framed
            one = subject.part == "detector" or (framed and subject.part == "flow")
            batches = {record.parameters["batch"] for record in records}
            assert batches == ({1} if one else {1, 2})
            assert len({record.key for record in records}) == len(records)
            for record in records:
                assert record.networks == subject.networks
                assert len(record.samples) > 0
                if record.unit == "px":
                    assert record.summary.median == 0
                    assert record.within_limit
                else:
                    assert record.summary.min > 0


def test_a_gpu_is_measured_with_graphs_and_without(bundles, monkeypatch):
    asked = []

    def opening(content, device, *, graphs):
        asked.append((device, graphs))
        return open_engine(content, "cpu", 1)

    inspect.signature(open_onnxruntime).bind(b"", "cuda", graphs=True)
    monkeypatch.setattr(latency, "open_onnxruntime", opening)
    subject = of_bundle(bundles["tiny frame-in"], "tiny")[1]
    records = list(network(subject, "cuda", TINY))
    assert asked == [("cuda", True), ("cuda", False)]
    graphs = [record.parameters["graphs"] for record in records]
    assert graphs == [True] * 6 + [False] * 6
    assert len({record.key for record in records}) == len(records)


def test_frames_take_one_run_and_people_a_batch():
    subject = Subject("x", "flow", b"", form="frame")
    assert replace(subject, part="pose", fixed=4).batches((1, 2)) == (4,)
    assert subject.batches((1, 2, 4)) == (1,)
    assert replace(subject, part="pose").batches((1, 2, 4)) == (1, 2, 4)
    assert replace(subject, form="pictures").batches((1, 2, 4)) == (1, 2, 4)


def test_what_is_fed_fits_the_graph(bundles):
    for subject in of_bundle(bundles["tiny frame-in"], "t"):
        engine = open_engine(subject.content, "cpu", 1)
        for spec in engine.inputs:
            given = feeds(engine, subject, 2, TINY.size)[spec.name]
            spec.check(given)
            if spec.name == "affine":
                assert given.shape == (2, 2, 3)
                assert len(np.unique(given, axis=0)) == 2
            else:
                assert given.shape == (96, 128, 3)
                assert given.std() > 10


@pytest.mark.parametrize("moved", [0.0, 2.5])
def test_differences_are_those_of_places(moved):
    keypoints = np.random.default_rng(0).uniform(1, 60, (2, 5, 3)).astype(np.float32)
    keypoints[..., 2] = 1.0
    keypoints[0, 0, 2] = 0.01  # hardly scores, so it may lie anywhere
    other = keypoints.copy()
    other[..., 0] += moved
    other[0, 0] = 999
    found = differences({"keypoints": keypoints}, {"keypoints": other})
    assert len(found) == 9
    np.testing.assert_allclose(found, moved, atol=1e-5)
    boxes = np.array([[[0, 0, 9, 9], [50, 50, 70, 90.0]]])
    scores = np.array([[0.9, 0.8]])
    swapped = {"boxes": boxes[:, ::-1] + moved, "scores": scores}
    found = differences({"boxes": boxes, "scores": scores}, swapped)
    np.testing.assert_allclose(found, moved)
    flow = np.zeros((1, 2, 4, 4))
    np.testing.assert_allclose(differences({"flow": flow}, {"flow": flow + [[[[moved]]]]}),
                               moved * 2**0.5)  # fmt: skip


def test_the_bound_runs_the_network_in_pytorch(bundles):
    subject = of_bundle(bundles["tiny"], "tiny")[1]
    assert list(bound(subject, "cpu", TINY)) == []  # has no original
    content = replace(subject, module=Mean)
    records = list(bound(content, "cpu", TINY))
    assert [(record.name, record.parameters["batch"]) for record in records] == [
        (name, batch) for batch in (1, 2) for name in ("PyTorch, run", "PyTorch, network alone")
    ]


def test_transfers_go_both_ways():
    records = list(transfers("cpu", TINY))
    assert {record.name for record in records} == {"upload", "download"}
    assert len({record.key for record in records}) == len(records) == 4


def test_a_pipeline_is_timed_watched_and_shared(bundles, frames):
    for name, bundle in bundles.items():
        made = {record.name: record for record in tracking.rates(bundle, name, "cpu", frames, TINY)}
        assert {"Pipeline.step", "Pipeline.run", "stage pose.engine", "stage assign"} <= set(made)
        assert ("stage upload" in made) == ("frame-in" in name)
        looks, growth = tracking.endurance(bundle, name, "cpu", frames, TINY)
        assert len(looks.samples) >= 10
        assert growth.limit == tracking.GROWTH_LIMIT_MB
        shared = list(tracking.together(bundle, name, "cpu", frames, TINY))
        assert [record.samples[0] for record in shared if record.unit == "share"] == [0.0, 0.0]
        assert all(record.within_limit is not False for record in shared)


def test_memory_that_grows_is_noticed(bundles, frames, monkeypatch):
    kept = []

    def looked(device):
        kept.append(0)
        return 100.0 + 2 * len(kept)

    monkeypatch.setattr(tracking, "memory_mb", looked)
    _, growth = tracking.endurance(bundles["tiny"], "tiny", "cpu", frames, TINY)
    assert growth.within_limit is False


def test_other_tracks_are_noticed(bundles, frames):
    tracked = tracking.stepped(open_pipeline(bundles["tiny"], device="cpu"), frames)
    assert tracking.different(tracked, tracked) == 0
    assert tracking.different(tracked, tracked[::-1]) > 0


def test_an_error_in_a_thread_is_raised(bundles, frames):
    pipeline = open_pipeline(bundles["tiny"], device="cpu")
    wrong = [frames[0], Frame(1, 0.1, np.zeros((8, 8, 3), np.uint8))]
    with pytest.raises(ValueError, match="one size"):
        tracking.in_threads([pipeline, pipeline], wrong)


def test_half_networks_are_those_of_calibrate_fp16(frames, tmp_path):
    bundle = open_bundle(default_bundle_path())
    half = half_bundle(bundle, tmp_path / "half")
    assert {file.precision for file in half.manifest.files().values()} == {"fp16"}
    framed = frame_bundle(half, tmp_path / "framed", [frame.image for frame in frames])
    for subject, plain, in_frame in zip(
        of_bundle(half, "half"),
        of_bundle(bundle, "plain"),
        of_bundle(framed, "framed"),
        strict=True,
    ):
        assert subject.precision == in_frame.precision == "fp16"
        assert subject.content == half_graph(plain.content) == halved(plain).content
        open_engine(subject.content, "cpu", 1)


def tiny_suite(bundles, frames, folder):
    absent, names = {"more": "no torch"}, ("tiny",)
    return suite.Suite("cpu", TINY, bundles, [], frames, folder, absent, names, names)


@pytest.fixture
def small(bundles, frames, monkeypatch):
    """The command measures the tiny suite."""
    monkeypatch.setattr(
        command, "default_suite", lambda *given: tiny_suite(bundles, frames, given[2])
    )


def test_the_suite_measures_all_and_says_what_it_left_out(bundles, frames, tmp_path, monkeypatch):
    told = []
    records, left_out = suite.measured(tiny_suite(bundles, frames, tmp_path), 60,
                                       lambda *line: told.append(line))  # fmt: skip
    assert set(left_out) == {"more", "TensorRT, build tiny", "TensorRT, run tiny"}
    assert {name.partition(",")[0] for name, _ in told} == {
        "network", "transfers", "tracking", "memory", "together", "TensorRT"
    }  # fmt: skip
    assert len({record.key for record in records}) == len(records)


def test_when_the_time_is_over_nothing_new_is_begun(bundles, frames, tmp_path):
    records, left_out = suite.measured(
        tiny_suite(bundles, frames, tmp_path), -1, lambda name, outcome: None
    )
    assert records == []
    assert set(left_out.values()) == {"the -1 s for everything were over", "no torch"}


def test_a_failure_does_not_end_the_suite(bundles, frames, tmp_path, monkeypatch):
    def fails(*_):
        raise EngineError("out of memory")
        yield

    monkeypatch.setattr(suite, "network", fails)
    records, left_out = suite.measured(
        tiny_suite(bundles, frames, tmp_path), 60, lambda name, outcome: None
    )
    assert records
    assert sum(why == "failed: out of memory" for why in left_out.values()) == 6


def test_the_command_writes_a_report(small, tmp_path, capsys):
    out = tmp_path / "gpu.json"
    assert command.main(["--device", "cpu", "--quick", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "left out: TensorRT, build tiny" in printed
    assert "p99" in printed
    report = Report.read(out)
    assert {record.benchmark for record in report.records} == {"gpu"}
    assert "gpu name" in report.environment
    assert json.loads(out.read_text())["skipped"]


def test_a_broken_limit_is_a_failure(small, monkeypatch):
    record = Record("gpu", "difference to the CPU", {}, "px", [3.0], 0.05)
    monkeypatch.setattr(command, "measured", lambda *_: ([record], {}))
    assert command.main(["--device", "cpu"]) == 1
    monkeypatch.setattr(command, "measured", lambda *_: ([], {"x": "failed: y"}))
    assert command.main(["--device", "cpu"]) == 1
    monkeypatch.setattr(command, "measured", lambda *_: ([], {"x": "no TensorRT"}))
    assert command.main(["--device", "cpu"]) == 0


@pytest.mark.skipif(cuda_driver_version() is not None, reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys, bundles):
    assert command.main([]) == command.NO_DEVICE
    assert "no CUDA driver" in capsys.readouterr().out
    assert missing("cpu") is None
    with pytest.raises(Skipped, match="driver"):
        require("cuda")
    with pytest.raises(Skipped):
        plans.require_tensorrt()
    assert facts()["gpu name"] == "absent"
    assert facts()["torch"] == importlib.metadata.version("torch")
    assert memory_mb("cpu") > 10
