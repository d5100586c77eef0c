"""The gate bites: what is beyond a limit is said with value, limit and place."""

import hashlib
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from flowtrack.calibration.agreement import BoxAgreement, FlowAgreement, PoseAgreement
from flowtrack.calibration.gate import Gate, judge
from flowtrack.calibration.gate_report import verdict_dict, verdict_report, verdict_table
from flowtrack.calibration.verdict import (
    Limits,
    PartVerdict,
    Verdict,
    judge_boxes,
    judge_flow,
    judge_poses,
    judge_tracking,
)
from flowtrack.errors import InputError, OptionError
from flowtrack.runtime.bundle import write_bundle
from flowtrack.structs import Frame
from tests.support.graphs import blind_detector, constant, tiny_bundle

JOINTS = ("nose", "knee")


def frames(count=3, shade=None):
    rng = np.random.default_rng(1)
    return [
        Frame(
            10 * place,
            place / 25,
            rng.integers(0, 256, (64, 64, 3), np.uint8)
            if shade is None
            else np.full((64, 64, 3), shade, np.uint8),
        )
        for place in range(count)
    ]


@pytest.fixture
def reference(tmp_path):
    return write_bundle(tmp_path / "fp32", *tiny_bundle(flow=True))


def changed(reference, place, part, graph):
    """A copy of a bundle with another network."""
    manifest = reference.manifest
    spec = getattr(manifest, part)
    file = replace(spec.file, sha256=hashlib.sha256(graph).hexdigest(), precision="int8")
    files = {f.path: reference.read(name) for name, f in manifest.files().items()}
    files[file.path] = graph
    return write_bundle(place, replace(manifest, **{part: replace(spec, file=file)}), files)


def with_weights(graph, change):
    model = onnx.load_model_from_string(graph)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), tensor.name))
    return model.SerializeToString()


def test_a_harmless_change_passes(reference, tmp_path):
    graph = with_weights(reference.read("pose"), lambda w: w * np.float32(1.001))
    told = []
    verdict = judge(
        reference, changed(reference, tmp_path / "b", "pose", graph), frames(),
        progress=lambda: told.append(1),
    )  # fmt: skip
    assert verdict.failures == []
    assert list(verdict.parts) == ["pose"]
    assert verdict.parts["pose"].figures["mean_oks"] == 1.0
    assert len(told) == 1
    assert "accepted" not in verdict.record("pose")


def test_a_negated_layer_is_refused(reference, tmp_path):
    graph = with_weights(reference.read("pose"), np.negative)
    verdict = judge(reference, changed(reference, tmp_path / "b", "pose", graph), frames())
    (failure,) = verdict.failures
    assert failure.startswith("pose: poses have a mean OKS of 0.")
    assert "expected at least 0.98" in failure
    assert "frame " in failure
    record = verdict.record("pose", "a test")
    assert record["accepted"] == "a test"
    assert record["failures"] == [failure.removeprefix("pose: ")]
    assert record["limits"]["mean_oks"] == 0.98


def test_a_detector_that_sees_elsewhere_is_refused(reference, tmp_path):
    graph = blind_detector([[30, 30, 60, 60]], [0.9], 64, 64)
    verdict = judge(reference, changed(reference, tmp_path / "b", "detector", graph), frames())
    assert [text.split(",")[0] for text in verdict.failures] == [
        "detector: 3 of 3 boxes are lost",
        "detector: 3 of 3 boxes are invented",
    ]


def test_scores_below_the_trackers_threshold_are_lost_boxes(reference, tmp_path):
    graph = blind_detector([[4, 4, 40, 60]], [0.1], 64, 64)
    verdict = judge(reference, changed(reference, tmp_path / "b", "detector", graph), frames())
    assert verdict.parts["detector"].figures["lost"] == 3


def test_flow_that_is_off_is_refused(reference, tmp_path):
    pictures = dict.fromkeys(("previous", "current"), ("float32", ("N", 3, 64, 64)))
    flow = np.zeros((1, 2, 16, 16), np.float32)
    flow[0, 0] = 0.5
    candidate = changed(reference, tmp_path / "b", "flow", constant(pictures, {"flow": flow}))
    (failure,) = judge(reference, candidate, frames()).failures
    assert failure.startswith("flow: flow differs by 0.5 px in the mean, expected at most 0.3 px")
    assert not judge(reference, candidate, frames(), Limits(epe_px=0.6)).failures


def test_nothing_to_compare_is_said(reference, tmp_path):
    with pytest.raises(InputError, match="expected others"):
        judge(reference, reference, frames())
    with pytest.raises(InputError, match="two or more"):
        Gate(reference, frames(1))
    blind = blind_detector([[4, 4, 40, 60]], [0.0], 64, 64)
    sightless = changed(reference, tmp_path / "b", "detector", blind)
    found = Gate(sightless, frames(shade=0)).part("detector", blind)
    assert "finds nobody" in found.failures[0]
    found = Gate(sightless, frames(shade=0)).part("pose", reference.read("pose"))
    assert "see no joint" in found.failures[0]


def test_flow_is_compared_between_near_neighbours_of_one_size(reference):
    apart = [(0, 64), (1, 64), (20, 64), (21, 64), (22, 32)]
    shown = [Frame(i, i / 25, np.zeros((size, 64, 3), np.uint8)) for i, size in apart]
    found = Gate(reference, shown).part("flow", reference.read("flow"))
    assert found.figures["pairs"] == 2
    with pytest.raises(InputError, match="no flow to compare"):
        Gate(reference, shown[3:]).part("flow", reference.read("flow"))


def box_agreement(iou=(1.0,), lost=(0,), invented=(0,), reference=(20,)):
    return BoxAgreement(
        np.array(iou, np.float32), np.zeros(len(iou), np.int64),
        *(np.array(n) for n in (reference, lost, invented)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("agreement", "failures"),
    [
        (box_agreement(lost=(1,)), 0),
        (box_agreement(lost=(2,)), 1),
        (box_agreement(invented=(2,)), 1),
        (box_agreement(iou=(0.95, 0.95, 0.2)), 0),
        (box_agreement(iou=(0.94,)), 1),
        (box_agreement(iou=(), lost=(20,)), 1),
        (box_agreement(iou=(0.5,), lost=(3,), invented=(3,)), 3),
    ],
)
def test_limits_of_boxes(agreement, failures):
    assert len(judge_boxes(agreement, [7], Limits()).failures) == failures


def test_the_frame_with_most_lost_boxes_is_named():
    agreement = box_agreement((1.0,), (0, 2, 1), (0, 0, 0), (5, 5, 5))
    (failure,) = judge_boxes(agreement, [3, 14, 15], Limits()).failures
    assert failure == "3 of 15 boxes are lost, expected at most 5%; most in frame 14 (2)"


@pytest.mark.parametrize(
    ("px", "named"),
    [([[1.0, 9.0], [1.0, 3.0]], "'knee' (6.0 px away in the mean)"),
     ([[np.inf, 9.0], [np.nan, 3.0]], "'nose' (missed)")],
)  # fmt: skip
def test_the_worst_joint_and_frame_are_named(px, named):
    agreement = PoseAgreement(
        np.array([0.9, 0.8], np.float32), np.array(px, np.float32), np.array([0, 1])
    )
    (failure,) = judge_poses(agreement, [5, 6], JOINTS, Limits()).failures
    assert "mean OKS of 0.850, expected at least 0.98; least in frame 6 (0.800)" in failure
    assert named in failure


@pytest.mark.parametrize(
    ("error", "motion", "passes"),
    [(0.29, 0.0, True), (0.31, 0.0, False), (0.9, 10.0, True), (1.1, 10.0, False),
     (np.nan, 1.0, False)],
)  # fmt: skip
def test_flow_may_differ_by_a_share_of_the_motion(error, motion, passes):
    agreement = FlowAgreement(np.full((2, 3, 3), error, np.float32), np.full(2, motion, np.float32))
    found = judge_flow(agreement, [0, 1], Limits())
    assert (not found.failures) == passes


@pytest.mark.parametrize(("after", "passes"), [(80.0, True), (79.5, True), (79.4, False)])
def test_tracking_may_lose_a_little(after, passes):
    found = judge_tracking({"mAP": 70.0, "MOTA": 80.0}, {"mAP": 60.0, "MOTA": after}, Limits())
    assert (not found.failures) == passes
    assert found.figures["MOTA_converted"] == after


def test_tracking_that_fails_is_in_every_record():
    tracking = PartVerdict({"MOTA_fp32": 80.0}, ("MOTA falls",))
    verdict = Verdict({"pose": PartVerdict({}), "tracking": tracking}, Limits(), 4, "cpu")
    record = verdict.record("pose", "a reason")
    assert record["tracking"] == {"MOTA_fp32": 80.0}
    assert record["failures"] == ["MOTA falls"]
    assert record["accepted"] == "a reason"


@pytest.mark.parametrize(
    "wrong", [{"mean_oks": 1.1}, {"median_iou": -0.1}, {"epe_px": float("nan")}]
)
def test_limits_are_checked(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Limits(**wrong)


def test_a_verdict_is_shown(tmp_path):
    found = judge_boxes(box_agreement(lost=(2,)), [7], Limits())
    verdict = Verdict({"detector": found}, Limits(), 6, "cpu")
    rows = verdict_table(verdict)
    assert ["detector", "lost", "2", "at most 1.0"] in rows
    assert ["detector", "median iou", "1", "at least 0.95"] in rows
    facts = verdict_dict(verdict, {})
    assert facts["figures"]["detector"]["lost"] == 2
    assert facts["failures"] == verdict.failures
    verdict_report("fp16", verdict, {}).write(tmp_path / "page.html")
    assert "2 of 20 boxes are lost" in (tmp_path / "page.html").read_text()
