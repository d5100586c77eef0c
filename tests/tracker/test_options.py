"""Options are refused before work starts; Table 5 is complete."""

from __future__ import annotations

import pytest

from flowtrack.errors import OptionError
from flowtrack.tracker import TABLE_5, TrackerOptions, preset


@pytest.mark.parametrize(
    "wrong",
    [
        {"similarity": "iou"},
        {"flow_links": "both"},
        {"oks_area": "image"},
        {"min_similarity": 1.5},
        {"min_similarity": float("nan")},
        {"nms_iou": -0.1},
        {"pose_nms": 2.0},
        {"start_threshold": 1.5},
        {"start_joints": 0},
        {"joint_threshold": -1.0},
        {"box_growth": float("inf")},
        {"queue": 0},
        {"detect_every": 0},
        {"detect_every": 3, "propagate": False},
        {"similarity": "flow", "queue": 5},
        {"similarity": "bbox", "flow_links": "direct"},
    ],
)
def test_options_out_of_range_or_without_effect_are_refused(wrong):
    with pytest.raises(OptionError):
        TrackerOptions(**wrong)


def test_options_survive_the_way_through_json():
    options = TrackerOptions(similarity="pose", queue=3, pose_nms=None)
    assert TrackerOptions.from_dict(options.to_dict()) == options
    with pytest.raises(OptionError, match="speed"):
        TrackerOptions.from_dict({"speed": 3})


def test_queue_follows_the_similarity():
    assert TrackerOptions().length == 10
    assert TrackerOptions(similarity="flow").length == 1
    assert TrackerOptions(queue=9).length == 9


@pytest.mark.parametrize(
    ("row", "propagate", "similarity", "mota"),
    [
        ("a1", False, "bbox", 57.6), ("a4", True, "pose", 61.8), ("a6", True, "multi_flow", 62.2),
        ("b3", True, "bbox", 62.1), ("b5", True, "flow", 62.4), ("c2", False, "pose", 61.9),
        ("c6", True, "multi_flow", 65.4),
    ],
)  # fmt: skip
def test_rows_of_table_5(row, propagate, similarity, mota):
    assert TABLE_5[row].paper_mota == mota
    options = preset(row)
    assert (options.propagate, options.similarity) == (propagate, similarity)
    assert options.pose_nms is None
    assert len(TABLE_5) == 18


def test_an_unknown_preset_is_refused():
    with pytest.raises(OptionError, match="d1"):
        preset("d1")
