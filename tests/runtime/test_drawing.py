import cv2
import numpy as np
import pytest

from flowtrack.errors import InputError, OptionError
from flowtrack.runtime.drawing import (
    PALETTE,
    DrawOptions,
    Painter,
    Trails,
    color_of,
    draw_frame,
)
from flowtrack.skeleton import COCO_17, POSETRACK17_15, SKELETONS
from flowtrack.structs import Boxes, FlowField, Poses, TrackedFrame, Tracks

PLAIN = DrawOptions(ids=False, trail_frames=0)
# A standing person in a box of 100 x 300, in the joint order of COCO.
STANDING = np.array(
    [[50, 20], [55, 15], [45, 15], [60, 20], [40, 20], [75, 60], [25, 60], [85, 110], [15, 110],
     [90, 160], [10, 160], [65, 160], [35, 160], [65, 230], [35, 230], [65, 295], [35, 295]],
    np.float32,
)  # fmt: skip


def tracked(people, *, ids=None, index=0, boxes=None, flow=None):
    """A frame of (17, 2) joints per person."""
    count = len(people)
    xy = np.array(people, np.float32).reshape(count, 17, 2)
    box = np.tile(np.float32([0, 0, 1, 1]), (count, 1))
    poses = Poses(xy, np.full((count, 17), 0.9), box, np.ones(count))
    ids = np.arange(count) if ids is None else ids
    tracks = Tracks(ids, np.zeros(count, int), np.full(count, np.nan))
    return TrackedFrame(index, index / 25, poses, tracks, boxes or Boxes.empty(), flow)


def blank(width=400, height=400, level=128):
    return np.full((height, width, 3), level, np.uint8)


def changed(image, before):
    return (image != before).any(axis=2)


def near(image, color, tolerance=12):
    return (np.abs(image.astype(int) - color) <= tolerance).all(axis=2)


def test_joints_and_limbs_are_where_they_belong():
    person = STANDING + (100, 50)
    image = draw_frame(blank(), tracked([person]), COCO_17, PLAIN)
    for x, y in person.astype(int):
        assert changed(image, blank())[y, x]
    for a, b in COCO_17.edges:
        x, y = (person[a] + person[b]).astype(int) // 2
        assert changed(image, blank())[y, x]
    drawn = changed(image, blank())
    assert drawn.mean() < 0.05
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    assert (rows[0], rows[-1]) == (pytest.approx(65, abs=8), pytest.approx(345, abs=8))
    assert (columns[0], columns[-1]) == (pytest.approx(110, abs=8), pytest.approx(190, abs=8))


def test_the_picture_itself_is_left_alone():
    picture = blank()
    draw_frame(picture, tracked([STANDING]), COCO_17)
    Painter(COCO_17, DrawOptions(boxes=True)).paint(picture, tracked([STANDING]))
    np.testing.assert_array_equal(picture, blank())


def test_no_people_no_change():
    np.testing.assert_array_equal(draw_frame(blank(), tracked([]), COCO_17), blank())


def test_an_id_keeps_its_colour_and_left_differs_from_right():
    for track_id in (0, 5):
        image = draw_frame(blank(), tracked([STANDING + 50], ids=[track_id]), COCO_17, PLAIN)
        left, right = (
            (STANDING[list(thigh)].mean(axis=0) + 50).astype(int) for thigh in ((11, 13), (12, 14))
        )
        full = np.array(color_of(track_id))
        np.testing.assert_allclose(image[left[1], left[0]], full, atol=6)
        np.testing.assert_allclose(image[right[1], right[0]], full * 0.62, atol=6)


def test_colours_are_far_apart():
    lab = cv2.cvtColor(np.array([PALETTE], np.uint8), cv2.COLOR_BGR2LAB)[0].astype(float)
    lab *= (100 / 255, 1, 1)
    gaps = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1e3 * np.eye(len(lab))
    assert np.diagonal(gaps, 1).min() > 50  # neighbours
    assert gaps[:8, :8].min() > 25
    assert gaps.min() > 8
    assert color_of(3) == color_of(3 + len(PALETTE)) == PALETTE[3]


def test_missing_joints_are_left_out():
    person = STANDING + 50
    hidden = person.copy()
    hidden[[13, 15]] = np.nan, np.inf
    image = draw_frame(blank(), tracked([hidden]), COCO_17, PLAIN)
    x, y = person[15].astype(int)
    assert not changed(image, blank())[y - 20 : y + 20, x - 8 : x + 8].any()
    everything = np.full((17, 2), np.nan)
    np.testing.assert_array_equal(
        draw_frame(blank(), tracked([everything]), COCO_17, DrawOptions(boxes=True)), blank()
    )


@pytest.mark.parametrize("far", [1e4, 1e9, -1e9, 3e38])
def test_far_coordinates_do_no_harm(far):
    person = STANDING + 50
    person[9] = far, far
    image = draw_frame(blank(), tracked([person]), COCO_17)
    x, y = ((person[11] + person[13]) / 2).astype(int)
    assert changed(image, blank())[y, x]
    outside = draw_frame(blank(), tracked([np.full((17, 2), far)]), COCO_17)
    np.testing.assert_array_equal(outside, blank())


@pytest.mark.parametrize("ends", [(5, 7), (7, 5)])
def test_a_limb_that_leaves_the_picture_keeps_its_direction(ends):
    person = np.full((17, 2), np.nan, np.float32)
    person[list(ends)] = (100, 100), (100 + 3e11, 100 + 1e11)
    image = draw_frame(blank(), tracked([person]), COCO_17, PLAIN)
    drawn = changed(image, blank())
    for x in (150, 250, 390):
        (rows,) = np.nonzero(drawn[:, x])
        assert rows.mean() == pytest.approx(100 + (x - 100) / 3, abs=1.5)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 3)])
def test_tiny_pictures(size):
    flow = FlowField(np.ones((2, 1, 1)), (1 / size[0], 1 / size[1]), 0, 1)
    boxes = Boxes.propagated([[0, 0, 5, 5]], [1])
    for kind in ("none", "colors", "arrows"):
        options = DrawOptions(boxes=True, flow=kind)
        image = draw_frame(
            blank(*size), tracked([STANDING], boxes=boxes, flow=flow), COCO_17, options
        )
        assert image.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda skeleton: skeleton.name)
def test_every_skeleton_can_be_drawn(skeleton):
    joints = len(skeleton)
    xy = np.random.default_rng(0).uniform(20, 380, (1, joints, 2))
    poses = Poses(xy, np.ones((1, joints)), np.zeros((1, 4)), np.ones(1))
    frame = TrackedFrame(0, 0.0, poses, Tracks([0], [0], [0]))
    assert changed(Painter(skeleton).paint(blank(), frame), blank()).any()


def test_a_wrong_skeleton_is_refused():
    with pytest.raises(InputError, match="poses have 17 joints, but posetrack17-15 has 15"):
        draw_frame(blank(), tracked([STANDING]), POSETRACK17_15)


def label_of(image, track_id):
    """The pixels of a label: coloured in full, above the joints."""
    return near(image, color_of(track_id))


def test_labels_are_readable_and_above_the_head():
    person = STANDING + (150, 80)
    with_label = draw_frame(blank(), tracked([person], ids=[7]), COCO_17, DrawOptions())
    extra = changed(with_label, draw_frame(blank(), tracked([person], ids=[7]), COCO_17, PLAIN))
    rows, columns = np.nonzero(extra)
    assert rows.max() < 95
    assert columns.mean() == pytest.approx(200, abs=10)
    assert extra.sum() > 150
    pill = with_label[extra].astype(int)
    ink = np.abs(pill - color_of(7)).max(axis=1) > 60
    assert 0.05 < ink.mean() < 0.7


@pytest.mark.parametrize("at", [(150, -10), (-40, 100), (340, 100), (150, 380)])
def test_labels_stay_in_the_picture(at):
    person = STANDING + np.float32(at)
    plain = draw_frame(blank(), tracked([person]), COCO_17, PLAIN)
    extra = changed(draw_frame(blank(), tracked([person]), COCO_17, DrawOptions()), plain)
    assert extra.sum() > 150
    rows, columns = np.nonzero(extra)
    # Wholly inside: a pill that was cut off would touch the border along its side.
    assert extra[0].sum() <= 0.9 * np.ptp(columns)
    assert extra[:, 0].sum() <= 0.5 * np.ptp(rows)


@pytest.mark.parametrize("y", [150, 0])
def test_labels_do_not_cover_each_other(y):
    people = [STANDING + (150, y), STANDING + (156, y + 2)]
    image = draw_frame(blank(), tracked(people, ids=[0, 1]), COCO_17, DrawOptions(thickness=2))
    alone = [
        changed(
            draw_frame(blank(), tracked([p], ids=[i]), COCO_17, DrawOptions(thickness=2)),
            draw_frame(blank(), tracked([p], ids=[i]), COCO_17,
                       DrawOptions(thickness=2, ids=False)),
        ).sum()
        for i, p in enumerate(people)
    ]  # fmt: skip
    bare = draw_frame(blank(), tracked(people, ids=[0, 1]), COCO_17,
                      DrawOptions(thickness=2, ids=False))  # fmt: skip
    assert changed(image, bare).sum() > 0.85 * sum(alone)


def test_detected_boxes_are_solid_and_propagated_ones_dashed():
    box = [[50, 60, 350, 300]]
    covered = {}
    for kind in (Boxes.detected, Boxes.propagated):
        frame = tracked([], boxes=kind(box, [1]))
        drawn = changed(draw_frame(blank(), frame, COCO_17, DrawOptions(boxes=True)), blank())
        covered[kind.__name__] = drawn[60, 50:351].mean()
        assert not drawn[80:280, 70:330].any()
    assert covered["detected"] == 1
    assert 0.3 < covered["propagated"] < 0.8


def test_a_box_has_the_colour_of_its_person():
    person = tracked([STANDING + 100], ids=[4])
    poses = Poses(person.poses.xy, person.poses.score, [[60, 70, 330, 395]], [1])
    boxes = Boxes.detected([[60, 70, 330, 395], [5, 5, 40, 40]], [1, 1])
    frame = TrackedFrame(0, 0.0, poses, person.tracks, boxes)
    image = draw_frame(blank(), frame, COCO_17, DrawOptions(boxes=True, ids=False))
    np.testing.assert_allclose(image[200, 60], color_of(4), atol=12)
    assert np.ptp(image[20, 5].astype(int)) <= 6  # nobody's: grey


def test_trails_remember_follow_and_forget():
    trails = Trails(COCO_17, 3)
    for index in range(5):
        trails.update(tracked([STANDING + index * 10], ids=[9], index=index))
    np.testing.assert_allclose(trails.of(9), [[70, 180], [80, 190], [90, 200]])
    for index in range(5, 9):
        trails.update(tracked([], index=index))
    assert len(trails) == 0
    assert trails.of(9).shape == (0, 2)


def test_a_trail_does_not_jump_from_hips_to_shoulders():
    trails = Trails(COCO_17, 10)
    trails.update(tracked([STANDING], ids=[1], index=0))
    upper = STANDING.copy()
    upper[11:] = np.nan
    trails.update(tracked([upper], ids=[1], index=1))
    np.testing.assert_allclose(trails.of(1), [[50, 60]])


def test_a_painter_draws_the_way_that_people_came():
    painter = Painter(COCO_17, DrawOptions(ids=False))
    for index in range(10):
        person = STANDING + (20 + 25 * index, 50)
        image = painter.paint(blank(), tracked([person], ids=[2], index=index))
    x = np.arange(80, 220, 10)
    assert changed(image, blank())[210, x].all()


def test_flow_colours_tint_what_moves_and_nothing_else():
    uv = np.zeros((2, 10, 10), np.float32)
    uv[0, :, 5:] = 30
    uv[1, 0, 0] = np.nan
    frame = tracked([], flow=FlowField(uv, (10 / 400, 10 / 400), 0, 1))
    image = draw_frame(blank(), frame, COCO_17, DrawOptions(flow="colors"))
    np.testing.assert_array_equal(image[60:, :150], blank()[60:, :150])
    assert np.ptp(image[200, 300].astype(int)) > 60


def test_flow_arrows_point_along_the_motion():
    uv = np.zeros((2, 10, 10), np.float32)
    uv[0, 5:] = 3
    frame = tracked([], flow=FlowField(uv, (10 / 400, 10 / 400), 0, 1))
    drawn = changed(draw_frame(blank(), frame, COCO_17, DrawOptions(flow="arrows")), blank())
    assert not drawn[:190].any()
    assert drawn[210:].mean() > 0.02


@pytest.mark.parametrize(
    "options", [{"flow": "rainbow"}, {"trail_frames": -1}, {"thickness": 0.0},
                {"ids": False, "scores": True}],
)  # fmt: skip
def test_senseless_options_are_refused(options):
    with pytest.raises(OptionError):
        DrawOptions(**options)
