"""Whole clips: the figures equal the slow counter's, and come as table and dictionary."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtrack.errors import InputError, OptionError
from flowtrack.evaluation.posetrack import MEASURES, PARTS, evaluate
from flowtrack.evaluation.sequences import JOINT_SETS, JOINTS
from tests.evaluation.samples import (
    COUNT,
    frame,
    oracle_joints,
    person,
    poseval,
    random_clips,
    sequence,
)


def same(ours, theirs):
    assert ours == pytest.approx(theirs, abs=1e-9, nan_ok=True)


def check(truth, results, joints="all"):
    """Every figure against the oracle's; `truth` and `results` are lists of clips."""
    ours = evaluate([sequence(c) for c in truth], [sequence(c) for c in results], joints)
    names = oracle_joints(ours.joints)
    for counts, quirks in ((ours.tracking, True), (ours.corrected, False)):
        want = poseval.mota(truth, results, names, drop_last=quirks, dummies=quirks)
        for field in ("misses", "false_positives", "switches", "truths"):
            assert getattr(counts, field).tolist() == getattr(want, field).tolist(), field
        assert (counts.ids, counts.people) == (want.ids, want.truth_ids)
        same(ours.mota if quirks else ours.corrected_mota, want.total)
    total, each = poseval.mean_ap(truth, results, names)
    same(ours.mean_ap, total)
    same(ours.per_joint("AP").tolist(), [each[name] for name in names])
    if np.any(ours.detections.truths[ours.rows]):
        same(ours.pckh, poseval.pckh(truth, results, names))
    return ours


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 5))
def test_every_figure_agrees_with_the_oracle(seed, length, crowd):
    rng = np.random.default_rng(seed)
    check(*([clip] for clip in random_clips(rng, length, crowd)))


@pytest.mark.parametrize("joints", JOINT_SETS)
def test_several_clips_and_sets_of_joints_agree_with_the_oracle(joints):
    rng = np.random.default_rng(11)
    pairs = [random_clips(rng, length) for length in (30, 1, 45)]
    truth, results = (list(side) for side in zip(*pairs, strict=True))
    ours = check(truth, results, joints)
    assert set(ours.joints) == set(JOINT_SETS[joints])
    assert ours.tracking.switches.min() > 3
    assert ours.tracking.misses.min() > 10
    assert ours.tracking.false_positives.min() > 10
    assert 0 < ours.mean_ap < 100


def test_a_long_crowded_clip_agrees_with_the_oracle():
    rng = np.random.default_rng(3)
    check(*([clip] for clip in random_clips(rng, 40, crowd=9, switch=0.6)))


def test_totals_are_plain_means_over_joints_with_a_value():
    truth = [frame(person(1, joints=[0, 1])), frame(person(1, joints=[0]))] * 2
    scores = evaluate(sequence(truth), sequence([frame(person(7, joints=[0]))] * 4))
    same(scores.per_joint("MOTA")[:2].tolist(), [100.0, 0.0])
    assert np.isnan(scores.per_joint("MOTA")[2:]).all()
    assert scores.mota == 50  # joint 0 is found, joint 1 never
    parts = scores.per_part("MOTA")
    assert list(parts) == [*PARTS, "Total"]
    assert (parts["Ankle"], parts["Knee"], parts["Total"]) == (100, 0, 50)
    assert math.isnan(parts["Head"])


def test_joints_that_are_not_reported_still_decide_whose_a_pose_is():
    # Pose 8 finds both wrists, pose 7 everything else: the person is pose 7's.
    wrists = [JOINTS.index("right_wrist"), JOINTS.index("left_wrist")]
    rest = [j for j in range(COUNT) if j not in wrists]
    results = [frame(person(7, joints=rest), person(8, joints=wrists))]
    scores = evaluate(sequence([frame(person(1))]), sequence(results), ["left_wrist"])
    assert scores.joints == ("left_wrist",)
    assert scores.mean_ap == 0
    assert scores.pckh == 0


def test_dictionary_is_json_and_holds_the_figures():
    truth, results = random_clips(np.random.default_rng(5), 10)
    scores = evaluate(sequence(truth), sequence(results), "body12")
    got = json.loads(json.dumps(scores.as_dict(), allow_nan=False))
    assert got["mAP"] == pytest.approx(scores.mean_ap, abs=1e-4)
    assert got["MOTA"] == pytest.approx(scores.mota, abs=1e-4)
    assert got["per_part"]["MOTA"]["Head"] is None  # no joint of the head was asked for
    assert set(got["per_joint"]) == set(JOINTS[:12])
    assert got["switches"] == sum(one["switches"] for one in got["per_joint"].values())
    wrong = got["misses"] + got["false_positives"] + got["switches"]
    assert 0 < wrong < got["truths"] + got["false_positives"]


def test_table_has_a_row_for_each_measure():
    scores = evaluate(sequence([frame(person(1))] * 2), sequence([frame(person(7))] * 2), "body12")
    heading, *rows = scores.table()
    assert heading == ["", *PARTS, "Total"]
    assert [row[0].replace(", ", "_") for row in rows] == list(MEASURES)
    assert rows[1] == ["MOTA", "-", *["100.0"] * 7]


def test_wrong_requests_are_refused():
    clip = sequence([frame(person(1))])
    with pytest.raises(InputError, match="2 clips of truth come with 1"):
        evaluate([clip, clip], clip)
    with pytest.raises(InputError, match="0 clips"):
        evaluate([], [])
    for joints, text in (
        ("head", "joint set 'head'"),
        (["tail"], "joints tail"),
        ([], "no joints"),
    ):
        with pytest.raises(OptionError, match=text):
            evaluate(clip, clip, joints)
