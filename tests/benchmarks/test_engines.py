"""The engines benchmark: what runs in which way, on tiny networks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import engines
from benchmarks.engines import BASE, WAYS
from benchmarks.gpu.subjects import of_bundle
from benchmarks.measure import Effort
from benchmarks.records import Skipped
from flowtrack.errors import EngineError
from flowtrack.runtime.bundle import open_bundle
from flowtrack.runtime.default import default_bundle_path

pytest.importorskip("openvino", reason="OpenVINO is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

TINY = Effort(repeats=2, sample_ms=0.01, passes=2, frames=6)


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(default_bundle_path())


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(engines, "SIZE", (180, 320))
    monkeypatch.setattr(engines, "BATCHES", (1, 2))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # of compiled forms


def test_a_network_is_run_in_every_way_in_turns(bundle):
    pose = of_bundle(bundle, "default")[1]
    records = list(engines.network(replace(pose, name="PoseResNet-50 256x192"), TINY))
    assert len({record.key for record in records}) == len(records)
    ways = {record.parameters["engine"] for record in records}
    assert {way.name for way in WAYS} - ways <= {"OpenVINO bf16"}  # on a CPU without it
    assert {record.parameters["batch"] for record in records} == {1, 2}
    limited = [record for record in records if record.limit is not None]
    assert [(r.parameters["batch"], r.parameters["engine"]) for r in limited] == [
        (1, "OpenVINO INT8, last layers too")
    ]
    found = {(r.name, r.parameters["batch"], r.parameters["engine"]): r.samples for r in records}
    for batch in (1, 2):
        base, fast = (found["run", batch, way] for way in (BASE.name, "OpenVINO INT8"))
        times = found[f"times {BASE.name}", batch, "OpenVINO INT8"]
        assert list(times) == pytest.approx([a / b for a, b in zip(base, fast, strict=True)])
        assert (f"times {BASE.name}", batch, BASE.name) not in found


def test_pipelines_run_in_every_way(bundle, tmp_path):
    frames = engines.rendered(TINY.frames)
    assert frames[0].image.shape == (180, 320, 3)
    records = list(engines.pipelines(bundle, "default", frames, tmp_path, TINY))
    rates = [record for record in records if record.unit == "frames/s"]
    left_out = {way.name for way in WAYS} - {r.parameters["engine"] for r in rates}
    assert left_out - {"OpenVINO bf16"} == {"OpenVINO INT8, last layers too"}
    assert all(len(record.samples) == TINY.passes for record in records)
    quantised = open_bundle(tmp_path / "default-int8")
    files = quantised.manifest.files()
    assert {file.precision for file in files.values()} == {"int8"}
    assert all(b"QuantizeLinear" in quantised.read(part) for part in files)


def test_a_cpu_without_bfloat16_leaves_it_out_and_other_failures_are_told():
    def load(_, device):
        if device == "openvino-bf16":
            raise EngineError("this CPU has no bfloat16 (AVX512_BF16 or AMX), which ...")
        return device

    loaded = dict(engines._opened({way.form: b"" for way in WAYS}, load))
    assert [way.name for way in WAYS if way.name not in loaded] == ["OpenVINO bf16"]

    def broken(_, device):
        raise EngineError(f"{device} is broken")

    with pytest.raises(EngineError, match="cpu is broken"):
        dict(engines._opened({way.form: b"" for way in WAYS}, broken))


def test_what_is_not_installed_skips_the_benchmark(monkeypatch):
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Skipped, match=r"needs openvino: pip install"):
        next(engines.measure(TINY))
