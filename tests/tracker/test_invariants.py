"""What must hold for any input: exclusive ids, equivariance, repeatability, no crash on holes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtrack.skeleton import COCO_17
from flowtrack.structs import NO_TRACK, Boxes, FlowField, Poses
from flowtrack.tracker.options import TrackerOptions
from flowtrack.tracker.tracker import FlowTracker

SEEDS = st.integers(0, 2**32 - 1)
OPTIONS = st.builds(
    lambda similarity, propagate, pose_nms, oks_area: TrackerOptions(
        similarity=similarity, propagate=propagate, pose_nms=pose_nms, oks_area=oks_area
    ),
    st.sampled_from(["bbox", "pose", "flow", "multi_flow"]),
    st.booleans(),
    st.sampled_from([None, 0.6]),
    st.sampled_from(["joints", "box"]),
)


@dataclass
class Scene:
    """Poses, detections and flow of each frame."""

    poses: list[Poses]
    boxes: list[Boxes]
    flows: list[FlowField]


def scene(seed, frames=6, most=8, holes=0.15):
    """People who walk, vanish and come back; joints and flow with holes in them."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(50, 400, (most, 1, 2)) + rng.normal(0, 30, (most, 17, 2))
    step = rng.uniform(-20, 20, (most, 1, 2))
    out = Scene([], [], [])
    for k in range(frames):
        there = rng.random(most) < 0.8
        xy = (start + k * step + rng.normal(0, 2, start.shape))[there].astype(np.float32)
        xy[rng.random(xy.shape[:2]) < holes] = np.nan
        score = rng.uniform(0.2, 1.0, xy.shape[:2]).astype(np.float32)
        low = np.nan_to_num(np.nanmin(np.where(np.isfinite(xy), xy, 1e4), axis=1))
        box = np.concatenate([low, low + 100], axis=1).astype(np.float32)
        out.poses.append(Poses(xy, score, box, rng.uniform(0.4, 1.0, len(xy))))
        out.boxes.append(Boxes.detected(box, rng.uniform(0.3, 1.0, len(box))))
        uv = rng.normal(0, 10, (2, 12, 16)).astype(np.float32)
        uv[:, rng.random((12, 16)) < holes / 3] = np.nan
        out.flows.append(FlowField(uv, (16 / 640, 12 / 480), k - 1, k))
    return out


def run(options, what, order=None):
    """(ids, unified boxes) of every frame; `order[k]` permutes the people of frame k."""
    tracker = FlowTracker(COCO_17, options)
    ids, boxes = [], []
    for k, poses in enumerate(what.poses):
        if k and options.uses_flow:
            tracker.advance(what.flows[k])
        boxes.append(tracker.propose(what.boxes[k]))
        permuted = poses if order is None else poses[order[k]]
        permuted = permuted[tracker.unify(permuted)]
        ids.append((permuted, tracker.assign(permuted, k)))
    return ids, boxes


@given(SEEDS, OPTIONS)
@settings(deadline=None, max_examples=60)
def test_an_id_is_never_given_twice_in_a_frame(seed, options):
    for _, tracks in run(options, scene(seed))[0]:
        assert len(set(tracks.id.tolist())) == len(tracks)
        assert (tracks.id >= 0).all()


@given(SEEDS, OPTIONS, st.floats(0.4, 1.0))
@settings(deadline=None, max_examples=60)
def test_every_track_starts_with_a_box_above_the_start_threshold(seed, options, start):
    seen: set[int] = set()
    for poses, tracks in run(replace(options, start_threshold=start), scene(seed))[0]:
        for score, number in zip(poses.box_score, tracks.id.tolist(), strict=True):
            if number not in seen and number != NO_TRACK:
                assert score >= np.float32(start)
                seen.add(number)
            if number == NO_TRACK:
                assert score < np.float32(start)


@given(SEEDS, OPTIONS, st.integers(2, 15))
@settings(deadline=None, max_examples=60)
def test_every_track_starts_with_so_many_joints(seed, options, least):
    seen: set[int] = set()
    for poses, tracks in run(replace(options, start_joints=least), scene(seed))[0]:
        usable = (poses.score >= np.float32(options.joint_threshold)) & ~poses.missing
        for joints, number in zip(usable.sum(axis=1), tracks.id.tolist(), strict=True):
            if number not in seen:
                assert (joints >= least) == (number != NO_TRACK)
                seen |= {number} - {NO_TRACK}


@given(SEEDS, OPTIONS)
@settings(deadline=None, max_examples=40)
def test_identical_input_gives_identical_output(seed, options):
    what = scene(seed)
    for (_, a), (_, b) in zip(run(options, what)[0], run(options, what)[0], strict=True):
        np.testing.assert_array_equal(a.id, b.id)
        np.testing.assert_array_equal(a.similarity, b.similarity)


@given(SEEDS, OPTIONS)
@settings(deadline=None, max_examples=40)
def test_permuting_people_permutes_the_result(seed, options):
    what = scene(seed)
    rng = np.random.default_rng(seed + 1)
    order = [rng.permutation(len(poses)) for poses in what.poses]
    plain, shuffled = run(options, what)[0], run(options, what, order)[0]
    for (poses_a, a), (poses_b, b) in zip(plain, shuffled, strict=True):
        by_box_score = dict(zip(poses_a.box_score.tolist(), a.id.tolist(), strict=True))
        assert by_box_score == dict(zip(poses_b.box_score.tolist(), b.id.tolist(), strict=True))


@given(SEEDS, OPTIONS, st.integers(-2, 2), st.integers(-2, 2))
@settings(deadline=None, max_examples=40)
def test_translation_leaves_ids_unchanged(seed, options, cells_x, cells_y):
    """Everything moves by whole flow cells of 40 px, and the flow field with it."""
    what = scene(seed)
    shift = np.array([40.0 * cells_x, 40.0 * cells_y], np.float32)
    moved = Scene([], [], [])
    for poses, boxes, flow in zip(what.poses, what.boxes, what.flows, strict=True):
        both = np.tile(shift, 2)
        moved.poses.append(Poses(poses.xy + shift, poses.score, poses.box + both, poses.box_score))
        moved.boxes.append(Boxes(boxes.xyxy + both, boxes.score, boxes.origin))
        wide = np.pad(flow.uv, ((0, 0), (30, 30), (30, 30)), mode="edge")
        rows, columns = 30 - cells_y, 30 - cells_x
        uv = wide[:, rows - 20 : rows + 32, columns - 20 : columns + 36]
        moved.flows.append(FlowField(uv, flow.scale, flow.from_index, flow.to_index))
    # The same wide field, so that borders lie equally far from everybody.
    padded = Scene(what.poses, what.boxes, [])
    for flow in what.flows:
        wide = np.pad(flow.uv, ((0, 0), (30, 30), (30, 30)), mode="edge")
        padded.flows.append(
            FlowField(wide[:, 10:62, 10:66], flow.scale, flow.from_index, flow.to_index)
        )
    offset = np.float32(20 * 40.0)
    for scene_ in (moved, padded):
        for k, poses in enumerate(scene_.poses):
            scene_.poses[k] = Poses(
                poses.xy + offset, poses.score, poses.box + offset, poses.box_score
            )
    for (_, a), (_, b) in zip(run(options, padded)[0], run(options, moved)[0], strict=True):
        np.testing.assert_array_equal(a.id, b.id)


@pytest.mark.parametrize("similarity", ["bbox", "pose", "flow", "multi_flow"])
@pytest.mark.parametrize("oks_area", ["joints", "box"])
def test_hard_scenes_are_survived(similarity, oks_area):
    """Nobody, one, 300 people, no joints at all, boxes without area, flow of NaN."""
    options = TrackerOptions(similarity=similarity, oks_area=oks_area)
    tracker = FlowTracker(COCO_17, options)
    rng = np.random.default_rng(0)
    crowd = rng.uniform(0, 2000, (300, 1, 2)) + rng.normal(0, 20, (300, 17, 2))
    box = np.concatenate([crowd.min(1), crowd.max(1)], axis=1)
    all_nan = np.full((3, 17, 2), np.nan)
    flat = np.tile([5.0, 5.0, 5.0, 5.0], (2, 1))
    scenes = [
        Poses.empty(17),
        Poses(crowd[:1], np.ones((1, 17)), box[:1], np.ones(1)),
        Poses(crowd, np.ones((300, 17)), box, np.ones(300)),
        Poses(crowd, np.full((300, 17), np.nan), box, np.ones(300)),
        Poses(all_nan, np.ones((3, 17)), np.full((3, 4), np.nan), np.full(3, np.nan)),
        Poses(np.full((2, 17, 2), 5.0), np.ones((2, 17)), flat, np.ones(2)),
        Poses.empty(17),
    ]
    for k, poses in enumerate(scenes):
        value = np.nan if k % 2 else 3.0
        if k:
            uv = np.full((2, 3, 3), value, np.float32)
            tracker.advance(FlowField(uv, (0.01, 0.01), k - 1, k))
        proposals = tracker.propose(Boxes.detected(poses.box, poses.box_score))
        assert np.isfinite(proposals.xyxy).all()
        kept = poses[tracker.unify(poses)]
        tracks = tracker.assign(kept, k)
        assert len(set(tracks.id.tolist())) == len(kept)
        if k == 2:
            assert len(kept) > 250
        if k in (3, 4):
            assert len(kept) == 0
