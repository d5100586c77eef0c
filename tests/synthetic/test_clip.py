import itertools
from hashlib import sha256

import cv2
import numpy as np
import pytest

from flowtrack.errors import OptionError
from flowtrack.synthetic import CAMERAS, ClipOptions, render_clip
from flowtrack.synthetic.rendering.raster import face_of
from flowtrack.synthetic.stage import Stage
from tests.synthetic.oracles import first_hit_m, sampled

PLAIN = ClipOptions(width=160, height=120, frames=5, people=4, seed=2, shading=False)


def digest(frames):
    total = sha256()
    for frame in frames:
        for array in (frame.image, frame.ids, frame.keypoints, frame.boxes):
            total.update(np.ascontiguousarray(array).tobytes())
        if frame.flow is not None:
            total.update(frame.flow.uv.tobytes())
            total.update(frame.flow_valid.tobytes())
    return total.hexdigest()


@pytest.fixture(scope="module")
def plain():
    return list(render_clip(PLAIN))


def test_a_clip_is_the_same_each_time(plain):
    clip = render_clip(PLAIN)
    assert len(clip) == len(plain)
    assert digest(clip) == digest(plain)
    assert digest(clip) == digest(plain), "iterating twice starts again"


def test_frames_are_numbered_and_the_last_one_has_no_flow(plain):
    assert [frame.index for frame in plain] == [0, 1, 2, 3, 4]
    np.testing.assert_allclose([frame.time_s for frame in plain], np.arange(5) / 25)
    assert [frame.flow is None for frame in plain] == [False] * 4 + [True]
    assert plain[0].flow.to_index == 1


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_flow_warps_the_next_frame_onto_this_one(camera):
    options = ClipOptions(width=320, height=240, frames=3, seed=5, shading=False, camera=camera,
                          motions=("walk", "dance", "run"), things=1)  # fmt: skip
    frames = list(render_clip(options))
    for now, then in itertools.pairwise(frames):
        y, x = np.mgrid[: options.height, : options.width].astype(float)
        u, v = now.flow.uv
        # Softened a little: what is finer than a pixel does not survive resampling.
        here, there = (cv2.blur(f.image, (3, 3)).astype(float) for f in (now, then))

        def error(dx, dy, here=here, there=there, x=x + u, y=y + v):
            return np.abs(sampled(there, x + dx, y + dy) - here).mean(axis=-1)

        assert now.flow_valid.mean() > 0.85
        assert error(0, 0)[now.flow_valid].mean() < 3.5
        moving = now.flow_valid & (np.hypot(u, v) > 0.5)
        assert moving.sum() > 500
        exact = error(0, 0)[moving].mean()
        assert exact < 0.55 * error(-u, -v)[moving].mean(), "far better than no flow"
        for dx, dy in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)):
            assert exact < error(dx, dy)[moving].mean(), "no better half a pixel beside"


def test_where_nothing_moves_the_flow_is_zero(plain):
    flow = plain[0].flow.uv
    assert (flow[:, :3] == 0).all(), "nobody is at the top of the picture"
    assert np.abs(flow).max() > 1


def test_what_gets_hidden_is_not_valid(plain):
    now, then = plain[0], plain[1]
    changed = np.abs(now.image.astype(int) - then.image).max(axis=-1) > 60
    still = (now.flow.uv == 0).all(axis=0)
    # A still pixel of the place that looks quite different afterwards was covered by somebody.
    covered = changed & still
    assert covered.sum() > 10
    assert now.flow_valid[covered].mean() < 0.15


def test_a_seen_joint_moves_with_the_flow_under_it():
    options = ClipOptions(width=320, height=240, frames=4, seed=9, camera="handheld")
    frames = list(render_clip(options))
    gaps = []
    for now, then in itertools.pairwise(frames):
        for row, who in enumerate(now.ids):
            later = np.flatnonzero(then.ids == who)
            for joint in np.flatnonzero(now.keypoints[row, :, 2] == 2):
                if not len(later) or then.keypoints[later[0], joint, 2] != 2:
                    continue
                x, y = now.keypoints[row, joint, :2]
                step = then.keypoints[later[0], joint, :2] - (x, y)
                flow = now.flow.uv[:, round(float(y)), round(float(x))]
                gaps.append(np.hypot(*(flow - step)))
    # Joints lie below the surface, and some at the edge of the body.
    assert len(gaps) > 60
    assert np.median(gaps) < 0.3
    assert np.percentile(gaps, 90) < 2.0


def test_visibility_agrees_with_rays():
    """A ray from the camera must reach a seen joint, but for what the body is thick there."""
    options = ClipOptions(width=320, height=240, frames=1, people=6, seed=11, crowd=0.8, things=3)
    stage = Stage(options)
    instant = stage._instant(0)
    soup, camera = instant.moment.soup, instant.moment.camera
    frame = next(iter(render_clip(options)))
    from flowtrack.synthetic.truth import _TOLERANCE

    agree = []
    for row, who in enumerate(frame.ids):
        girth = stage._actors[who][0].girth
        points = instant.poses[who].landmarks()
        for joint in range(17):
            if frame.keypoints[row, joint, 2] == 0:
                continue
            away = np.linalg.norm(points[joint] - camera.place)
            hit = first_hit_m(camera.place, points[joint], soup.vertices, soup.faces)
            hidden = hit < away - girth * _TOLERANCE[joint]
            agree.append(hidden == (frame.keypoints[row, joint, 2] == 1))
    assert len(agree) > 40
    assert np.mean(agree) > 0.95
    values = frame.keypoints[..., 2]
    assert (values == 1).any()
    assert (values == 2).any()


def test_boxes_hold_exactly_what_is_seen():
    options = ClipOptions(width=160, height=120, frames=1, people=5, seed=3)
    stage = Stage(options)
    moment = stage._instant(0).moment
    frame = next(iter(render_clip(options)))
    face = face_of(moment.view.keys)
    person = np.where(face >= 0, moment.soup.person[face], -1)
    for row, who in enumerate(frame.ids):
        rows, columns = np.nonzero(person == who)
        # Two samples a pixel, whose centres are a quarter pixel beside the pixel's.
        left, right = columns.min() / 2 - 0.25 - 0.25, columns.max() / 2 - 0.25 + 0.25
        top, bottom = rows.min() / 2 - 0.25 - 0.25, rows.max() / 2 - 0.25 + 0.25
        np.testing.assert_allclose(frame.boxes[row], (left, top, right, bottom), atol=1e-5)
        assert frame.areas[row] == len(rows) / 4


def test_people_enter_leave_and_keep_their_ids():
    options = ClipOptions(width=160, height=120, frames=48, fps=8, people=6, seed=1,
                          motions=("walk", "run"), shading=False)  # fmt: skip
    frames = list(render_clip(options))
    there = np.zeros((options.people, options.frames), bool)
    place = {}
    for frame in frames:
        assert len(set(frame.ids.tolist())) == len(frame.ids)
        there[frame.ids, frame.index] = True
        for who, box in zip(frame.ids.tolist(), frame.boxes, strict=True):
            middle = (box[:2] + box[2:]) / 2
            if who in place and place[who][0] == frame.index - 1:
                assert np.abs(middle - place[who][1]).max() < 60
            place[who] = (frame.index, middle)
    assert (~there[:, 0] & there.any(axis=1)).any(), "somebody enters"
    assert (there.any(axis=1) & ~there[:, -1]).any(), "somebody leaves"


def test_a_missed_frame_doubles_the_motion():
    whole = ClipOptions(width=96, height=72, frames=30, people=1, seed=4, shading=False)
    missed = [f.time_s for f in render_clip(ClipOptions(**{**vars(whole), "missed": 0.4}))]
    steps = np.diff(missed) * whole.fps
    assert set(np.rint(steps).astype(int)) == {1, 2}
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)


def test_shutter_blurs_what_moves_and_nothing_else():
    base = {"width": 240, "height": 180, "frames": 2, "people": 2, "seed": 6, "motions": ("run",)}
    sharp = next(iter(render_clip(ClipOptions(**base))))
    soft = next(iter(render_clip(ClipOptions(**base, shutter=0.9))))
    np.testing.assert_array_equal(sharp.keypoints, soft.keypoints)
    changed = np.abs(sharp.image.astype(int) - soft.image).max(axis=-1) > 8
    assert changed.sum() > 100
    reach = np.zeros(changed.shape, bool)
    for x1, y1, x2, y2 in sharp.boxes:
        reach[max(int(y1) - 40, 0) : int(y2) + 40, max(int(x1) - 40, 0) : int(x2) + 40] = True
    assert not changed[~reach].any()


def test_light_falls_and_shadows_are_cast():
    base = {"width": 160, "height": 120, "frames": 1, "people": 3, "seed": 8}
    flat = next(iter(render_clip(ClipOptions(**base, shading=False))))
    lit = next(iter(render_clip(ClipOptions(**base))))
    outside = np.ones(flat.image.shape[:2], bool)
    for x1, y1, x2, y2 in flat.boxes.round().astype(int):
        outside[max(y1, 0) : y2 + 2, max(x1, 0) : x2 + 2] = False
    darker = flat.image.astype(int).sum(axis=-1) - lit.image.astype(int).sum(axis=-1)
    assert (darker[outside] >= -3).all(), "shadows only take light away"
    assert (darker > 20).any()


def test_no_people():
    frames = list(render_clip(ClipOptions(width=64, height=48, frames=2, people=0)))
    assert [len(frame) for frame in frames] == [0, 0]
    assert frames[0].flow_valid.all()
    assert (frames[0].flow.uv == 0).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frames": 0}, "frames is 0"), ({"fps": 0}, "fps"), ({"people": 100}, "people is 100"),
        ({"camera": "drone"}, "'drone'"), ({"motions": ()}, "motions"),
        ({"motions": ("fly",)}, "fly"), ({"shutter": 2}, "shutter"), ({"missed": 1}, "missed"),
        ({"seed": -1}, "seed is -1"), ({"height": 9999}, "9999"), ({"scale": (2, 1)}, "scale"),
    ],
)  # fmt: skip
def test_bad_options_are_refused(changes, words):
    with pytest.raises(OptionError, match=words):
        ClipOptions(**changes)
