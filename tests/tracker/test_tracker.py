"""Algorithm 1: what each option does, on scenes small enough to follow by eye."""

from __future__ import annotations

import numpy as np
import pytest

from flowtrack.errors import InputError, OptionError
from flowtrack.skeleton import COCO_17
from flowtrack.structs import DETECTED, NO_TRACK, PROPAGATED, Boxes, FlowField, Poses
from flowtrack.tracker.options import TrackerOptions
from flowtrack.tracker.tracker import FlowTracker

FIGURE = np.random.default_rng(7).uniform(0, [60, 160], (17, 2)).astype(np.float32)


def poses_at(*corners, score=0.9):
    """Figures of one shape with their top-left corners at the given positions."""
    xy = np.stack([FIGURE + np.float32(corner) for corner in corners])
    box = np.concatenate([xy.min(1), xy.max(1)], axis=1)
    count = len(corners)
    return Poses(xy, np.full((count, 17), score, np.float32), box, np.full(count, score))


def still(index, dx=0.0, dy=0.0):
    """One displacement everywhere, from frame index - 1 to index."""
    uv = np.empty((2, 4, 4), np.float32)
    uv[0], uv[1] = dx, dy
    return FlowField(uv, (4 / 640, 4 / 480), index - 1, index)


def track(options, frames, flows=None):
    """Ids of every frame; `frames` are poses, `flows[k]` leads to frame k."""
    tracker = FlowTracker(COCO_17, options)
    ids = []
    for index, poses in enumerate(frames):
        if index and flows is not None:
            tracker.advance(flows[index])
        ids.append(tracker.assign(poses, index).id.tolist())
    return ids


def test_new_people_get_new_ids_best_score_first():
    tracker = FlowTracker(COCO_17)
    poses = poses_at((0, 0), (200, 0), (400, 0))
    poses = Poses(poses.xy, poses.score * np.array([[0.6], [1.0], [0.8]]), poses.box, np.ones(3))
    assert tracker.assign(poses).id.tolist() == [2, 0, 1]


def test_ages_and_similarity_of_links():
    tracker = FlowTracker(COCO_17)
    first = tracker.assign(poses_at((0, 0)))
    tracker.advance(still(1))
    second = tracker.assign(poses_at((300, 0), (0, 0)))
    assert np.isnan(first.similarity).all()
    assert second.id.tolist() == [1, 0]
    assert second.age.tolist() == [0, 1]
    assert second.similarity[1] == pytest.approx(1.0)
    assert np.isnan(second.similarity[0])


@pytest.mark.parametrize(
    ("similarity", "kept"),
    [("bbox", False), ("pose", False), ("flow", True), ("multi_flow", True)],
)
def test_fast_motion_needs_flow(similarity, kept):
    """100 px a frame: boxes do not overlap, joints are far, but the flow knows."""
    options = TrackerOptions(similarity=similarity)
    frames = [poses_at((100 * k, 50)) for k in range(4)]
    flows = [still(k, dx=100.0) for k in range(4)]
    ids = track(options, frames, flows)
    assert (ids == [[0]] * 4) is kept


@pytest.mark.parametrize(
    ("options", "again"),
    [
        (TrackerOptions(similarity="flow"), 1),
        (TrackerOptions(similarity="multi_flow"), 0),
        (TrackerOptions(similarity="multi_flow", queue=2), 1),
        (TrackerOptions(similarity="bbox"), 1),
        (TrackerOptions(similarity="bbox", queue=4), 0),
    ],
)
def test_a_person_lost_for_two_frames_is_linked_again_from_the_queue(options, again):
    nobody = Poses.empty(17)
    frames = [poses_at((10, 10)), nobody, nobody, poses_at((10, 10))]
    ids = track(options, frames, [still(k) for k in range(4)])
    assert ids == [[0], [], [], [again]]


def test_the_queue_forgets_after_its_length():
    frames = [poses_at((10, 10)), *[Poses.empty(17)] * 5, poses_at((10, 10))]
    flows = [still(k) for k in range(7)]
    assert track(TrackerOptions(queue=5), frames, flows)[-1] == [1]
    assert track(TrackerOptions(queue=6), frames, flows)[-1] == [0]


def test_direct_links_jump_from_the_frame_where_joints_were_seen():
    """Chained flow breaks at a frame whose flow is lost, a direct flow does not need it."""
    frames = [poses_at((0, 0)), Poses.empty(17), poses_at((200, 0))]
    lost = FlowField(np.full((2, 4, 4), np.nan, np.float32), (0.1, 0.1), 0, 1)
    assert track(TrackerOptions(), frames, [None, lost, still(2, 100)])[-1] == [1]
    tracker = FlowTracker(COCO_17, TrackerOptions(flow_links="direct"))
    tracker.assign(frames[0], 0)
    tracker.advance([lost])
    tracker.assign(frames[1], 1)
    assert tracker.remembered_indices == (1, 0)
    jump = FlowField(still(1, dx=200.0).uv, (0.1, 0.1), 0, 2)
    tracker.advance([still(2, 100), jump])
    assert tracker.assign(frames[2], 2).id.tolist() == [0]


def test_without_a_flow_people_are_taken_to_stand_still():
    assert track(TrackerOptions(), [poses_at((5, 5)), poses_at((6, 5))]) == [[0], [0]]


def test_propose_grows_boxes_around_moved_joints():
    tracker = FlowTracker(COCO_17, TrackerOptions(box_growth=0.15))
    tracker.assign(poses_at((50, 50)))
    tracker.advance(still(1, dx=20.0))
    boxes = tracker.propose(Boxes.empty())
    low, high = FIGURE.min(0) + (70, 50), FIGURE.max(0) + (70, 50)
    grown = np.concatenate([low - 0.075 * (high - low), high + 0.075 * (high - low)])
    np.testing.assert_allclose(boxes.xyxy[0], grown, rtol=1e-5)
    assert boxes.origin.tolist() == [PROPAGATED]
    assert boxes.score[0] == pytest.approx(0.9)


def test_propose_prefers_the_detection_of_the_same_person():
    tracker = FlowTracker(COCO_17)
    poses = poses_at((50, 50), (300, 50))
    tracker.assign(poses)
    tracker.advance(still(1))
    weak_but_seen = Boxes.detected(poses.box[:1] + 3, [0.6])
    boxes = tracker.propose(weak_but_seen)
    assert boxes.origin.tolist() == [DETECTED, PROPAGATED]
    np.testing.assert_allclose(boxes.xyxy[0], weak_but_seen.xyxy[0])


def test_propose_drops_low_scores_and_propagates_only_when_asked():
    tracker = FlowTracker(COCO_17, TrackerOptions(propagate=False, similarity="bbox"))
    tracker.assign(poses_at((50, 50)))
    two = Boxes.detected([[0, 0, 10, 10], [50, 50, 90, 90]], [0.49, 0.51])
    assert tracker.propose(two).xyxy.tolist() == [[50, 50, 90, 90]]
    weak = FlowTracker(COCO_17)
    weak.assign(poses_at((50, 50), score=0.45))
    weak.advance(still(1))
    assert len(weak.propose(Boxes.empty())) == 0


def boxed_at(*corners, scores):
    """The same figures in boxes of the given scores."""
    poses = poses_at(*corners)
    return Poses(poses.xy, poses.score, poses.box, np.float32(scores))


def test_people_below_the_start_threshold_continue_tracks_and_start_none():
    tracker = FlowTracker(COCO_17, TrackerOptions(box_threshold=0.1, start_threshold=0.5))
    weak_and_strong = tracker.assign(boxed_at((0, 0), (300, 0), scores=[0.49, 0.5]))
    assert weak_and_strong.id.tolist() == [NO_TRACK, 0]
    tracker.advance(still(1))
    boxes = tracker.propose(Boxes.empty())
    assert len(boxes) == 1  # who started no track is not remembered
    both_weak = tracker.assign(boxed_at((0, 0), (300, 0), scores=[0.49, 0.11]))
    assert both_weak.id.tolist() == [NO_TRACK, 0]
    assert both_weak.age.tolist() == [0, 1]
    tracker.advance(still(2))
    assert tracker.assign(boxed_at((0, 0), (300, 0), scores=[0.6, 0.11])).id.tolist() == [1, 0]


@pytest.mark.parametrize("similarity", ["multi_flow", "pose", "bbox"])
def test_propose_drops_weak_boxes_that_touch_nobody(similarity):
    options = TrackerOptions(
        similarity=similarity, propagate=False, box_threshold=0.1, start_threshold=0.5
    )
    tracker = FlowTracker(COCO_17, options)
    poses = poses_at((0, 0), (300, 0))
    three = Boxes.detected([*poses.box, [600, 0, 660, 160]], [0.6, 0.2, 0.2])
    assert tracker.propose(three).score.tolist() == pytest.approx([0.6])  # nobody is remembered
    tracker.assign(poses)
    moved = 90 if similarity == "multi_flow" else 0
    if moved:
        tracker.advance(still(1, dx=moved))
    gone_on = Boxes.detected(three.xyxy + np.float32([moved, 0, moved, 0]), three.score)
    assert tracker.propose(gone_on).score.tolist() == pytest.approx([0.6, 0.2])


def test_propose_drops_weak_boxes_of_people_who_are_seen_well():
    tracker = FlowTracker(
        COCO_17, TrackerOptions(propagate=False, box_threshold=0.1, start_threshold=0.5)
    )
    poses = poses_at((0, 0), (300, 0))
    tracker.assign(poses)
    tracker.advance(still(1))
    low, high = poses.box[:, :2], poses.box[:, 2:]
    halves = np.concatenate([low, (low + high) / 2], axis=1)  # overlap the whole too little for NMS
    found = Boxes.detected([poses.box[0], *halves], [0.9, 0.2, 0.2])
    kept = tracker.propose(found).xyxy
    np.testing.assert_array_equal(kept, found.xyxy[[0, 2]])


@pytest.mark.parametrize("start", [None, 0.0, 0.2])
def test_a_start_threshold_up_to_the_box_threshold_keeps_nobody_out(start):
    options = TrackerOptions(box_threshold=0.2, start_threshold=start)
    tracks = FlowTracker(COCO_17, options).assign(boxed_at((0, 0), (300, 0), scores=[0.2, 0.9]))
    assert sorted(tracks.id.tolist()) == [0, 1]
    assert options.person_threshold == 0.2


def test_people_with_few_joints_continue_tracks_and_start_none():
    tracker = FlowTracker(COCO_17, TrackerOptions(start_joints=4))
    poses = poses_at((0, 0), (300, 0))
    poses.score[0, 3:] = 0.39  # three joints are above the threshold
    poses.score[1, 4:] = 0.39
    assert tracker.assign(poses).id.tolist() == [NO_TRACK, 0]
    tracker.advance(still(1))
    fewer = poses_at((0, 0), (300, 0))
    fewer.score[1, 3:] = 0.39
    assert tracker.assign(fewer).id.tolist() == [1, 0]


def test_more_joints_to_start_than_there_are_is_refused():
    FlowTracker(COCO_17, TrackerOptions(start_joints=17))
    with pytest.raises(OptionError, match="only 17 joints"):
        FlowTracker(COCO_17, TrackerOptions(start_joints=18))


def test_unify_keeps_the_better_of_two_poses_of_one_person():
    poses = poses_at((50, 50), (52, 50), (300, 50))
    poses = Poses(poses.xy, poses.score * np.array([[0.8], [1], [1]]), poses.box, np.ones(3))
    assert FlowTracker(COCO_17).unify(poses).tolist() == [False, True, True]
    off = TrackerOptions(pose_nms=None)
    assert FlowTracker(COCO_17, off).unify(poses).tolist() == [True, True, True]


def test_unify_drops_who_has_no_usable_joint():
    poses = poses_at((50, 50), (300, 50))
    weak = Poses(poses.xy, poses.score * np.array([[0.1], [1.0]]), poses.box, np.ones(2))
    assert FlowTracker(COCO_17).unify(weak).tolist() == [False, True]


def test_weak_joints_neither_propagate_nor_count():
    poses = poses_at((50, 50))
    score = poses.score.copy()
    score[0, 5:] = 0.1
    tracker = FlowTracker(COCO_17)
    tracker.assign(Poses(poses.xy, score, poses.box, poses.box_score))
    tracker.advance(still(1))
    extent = poses.xy[0, :5].max(0) - poses.xy[0, :5].min(0)
    box = tracker.propose(Boxes.empty()).xyxy[0]
    np.testing.assert_allclose(box[2:] - box[:2], extent * 1.15, rtol=1e-4)


@pytest.mark.parametrize("area", ["joints", "box"])
def test_oks_area_rules(area):
    """The area that OKS divides by is that of the joints' extent, or of the box."""
    poses = poses_at((50, 50))
    wide = Poses(poses.xy, poses.score, np.array([[0, 0, 600, 460]], np.float32), np.ones(1))
    tracker = FlowTracker(COCO_17, TrackerOptions(oks_area=area, min_similarity=0.0))
    tracker.assign(wide)
    tracker.advance(still(1))
    shifted = Poses(poses.xy + 15, poses.score, wide.box, np.ones(1))
    width, height = FIGURE.max(0) - FIGURE.min(0)
    pixels = width * height if area == "joints" else 600 * 460
    want = np.exp(-450 / (2 * pixels * (2 * COCO_17.sigmas) ** 2)).mean()
    assert tracker.assign(shifted).similarity[0] == pytest.approx(want, abs=1e-5)


def test_the_gate_refuses_unlike_people():
    frames = [poses_at((0, 0)), poses_at((18, 0))]
    flows = [still(0), still(1)]
    assert track(TrackerOptions(min_similarity=0.0), frames, flows)[1] == [0]
    assert track(TrackerOptions(min_similarity=0.95), frames, flows)[1] == [1]


def test_wrong_calls_are_refused():
    tracker = FlowTracker(COCO_17)
    tracker.assign(poses_at((0, 0)))
    with pytest.raises(InputError, match="2 flows"):
        tracker.advance([still(1), still(1)])
    with pytest.raises(InputError, match="lead to frames"):
        tracker.advance([still(1), still(2)])
    with pytest.raises(InputError, match="14 joints"):
        tracker.assign(Poses.empty(14))
    direct = FlowTracker(COCO_17, TrackerOptions(flow_links="direct"))
    with pytest.raises(OptionError, match="index"):
        direct.assign(poses_at((0, 0)))
    direct.assign(poses_at((0, 0)), 4)
    with pytest.raises(InputError, match="from frame 4"):
        direct.advance([still(6)])


def test_two_trackers_share_no_counter():
    one, two = FlowTracker(COCO_17), FlowTracker(COCO_17)
    one.assign(poses_at((0, 0), (300, 0)))
    assert two.assign(poses_at((0, 0))).id.tolist() == [0]
