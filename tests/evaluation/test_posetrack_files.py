"""PoseTrack JSON of both years: what is read, and what is refused with its place."""

import gzip
import json
import math

import numpy as np
import pytest

from flowtrack.errors import InputError
from flowtrack.evaluation.posetrack import evaluate
from flowtrack.evaluation.posetrack_files import read_pairs, read_posetrack
from flowtrack.evaluation.sequences import JOINTS, NO_SCORE
from tests.evaluation.samples import COUNT, frames
from tests.reference import poseval


def point(joint, x, y, score=None):
    scored = {} if score is None else {"score": [score]}
    return {"id": [joint], "x": [x], "y": [y], **scored}


def rect(track_id, points, head=(0, 0, 30, 40)):
    corners = dict(zip(("x1", "y1", "x2", "y2"), ([value] for value in head), strict=True))
    return {**corners, "track_id": [track_id], "annopoints": [{"point": points}]}


def clip17():
    region = {"point": [{"x": [0], "y": [0]}, {"x": [4], "y": [0]}, {"x": [0], "y": [4]}]}
    rects = [
        rect(3, [point(0, 1, 2, 0.5), point(0, 8, 8, 0.1), point(14, 5, 6)]),
        {**rect(4, []), "annopoints": []},
        {**rect(5, []), "annopoints": [{}]},
    ]
    return {
        "annolist": [
            {"image": [{"name": "a.jpg"}], "annorect": rects, "ignore_regions": [region]},
            {"image": [{"name": "b.jpg"}], "annorect": [rect(3, [])]},
            {"image": [{"name": "c.jpg"}], "annorect": []},
            {"image": [{"name": "d.jpg"}], "annorect": [{"track_id": [1]}]},
        ]
    }


NAMES18 = [
    "nose", "head_bottom", "head_top", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle",
]  # fmt: skip


def clip18():
    keypoints = [0] * 51
    keypoints[:3], keypoints[3:6], keypoints[9:12] = [1, 2, 1], [3, 4, 0], [9, 9, 1]
    annotation = {
        "image_id": 7, "track_id": 2, "bbox_head": [5, 5, 30, 40], "keypoints": keypoints,
        "scores": [k / 20 for k in range(17)],
    }  # fmt: skip
    images = [
        {"id": 6, "file_name": "a.jpg", "vid_id": "000001"},
        {"id": 7, "file_name": "b.jpg", "vid_id": "000001",
         "ignore_regions_x": [[0, 4, 0]], "ignore_regions_y": [[0, 0, 4]]},
    ]  # fmt: skip
    categories = [{"keypoints": list(NAMES18)}]
    return {"images": images, "annotations": [annotation], "categories": categories}


def written(tmp_path, content, name="clip.json"):
    path = tmp_path / name
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def equal(one, other):
    for field in ("track_id", "xy", "score", "head"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), field)
    assert [p.tolist() for p in one.ignore] == [p.tolist() for p in other.ignore]
    assert (one.name, one.labelled) == (other.name, other.labelled)


@pytest.mark.parametrize("content", [clip17(), clip18()], ids=["2017", "2018"])
@pytest.mark.parametrize("name", ["clip.json", "clip.json.gz"])
def test_both_years_agree_with_the_oracle(tmp_path, content, name):
    read = read_posetrack(written(tmp_path, content, name))
    assert read.name == "clip"
    want = frames(poseval.read_posetrack(written(tmp_path, content, "plain.json")))
    assert len(read) == len(want)
    for one, other in zip(read.frames, want, strict=True):
        equal(one, other)


def test_a_file_of_2017(tmp_path):
    first, second, third, fourth = read_posetrack(written(tmp_path, clip17())).frames
    assert first.track_id.tolist() == [3]  # people without a list of points are left out
    assert first.xy[0, 0].tolist() == [1, 2]  # the first of a repeated joint counts
    assert first.score[0, [0, 14]].tolist() == [0.5, NO_SCORE]
    assert int(first.present.sum()) == 2
    assert first.head.tolist() == [[0, 0, 30, 40]]
    assert first.ignore[0].tolist() == [[0, 0], [4, 0], [0, 4]]
    assert [f.name for f in (first, second)] == ["a.jpg", "b.jpg"]
    assert len(second) == 1  # a list of points without points is still a person
    assert [f.labelled for f in (first, second, third, fourth)] == [True, True, False, True]


def test_a_file_of_2018(tmp_path):
    first, second = read_posetrack(written(tmp_path, clip18())).frames
    assert (len(first), first.labelled) == (0, False)
    assert np.flatnonzero(second.present[0]).tolist() == [
        JOINTS.index("head_bottom"), JOINTS.index("nose")
    ]  # fmt: skip
    assert second.score[0, JOINTS.index("head_bottom")] == 1 / 20
    assert second.head.tolist() == [[5, 5, 35, 45]]


def test_scalars_and_missing_parts(tmp_path):
    bare = {"track_id": 3, "annopoints": [{"point": [{"id": 2, "x": 1.5, "y": 2}]}]}
    (frame,) = read_posetrack(written(tmp_path, {"annolist": [{"annorect": [bare]}]})).frames
    assert frame.xy[0, 2].tolist() == [1.5, 2]
    assert np.isnan(frame.head).all()
    content = clip18()
    content["categories"][0]["keypoints"][1] = "neck"
    del content["annotations"][0]["scores"], content["annotations"][0]["bbox_head"]
    frame = read_posetrack(written(tmp_path, content)).frames[1]
    assert frame.xy[0, JOINTS.index("head_bottom")].tolist() == [3, 4]
    assert (frame.score == NO_SCORE).all()
    assert np.isnan(frame.head).all()


def changed(content, *path, to):
    *way, last = path
    for key in way:
        content = content[key]
    content[last] = to


RECT = ("annolist", 0, "annorect", 0)
POINT = (*RECT, "annopoints", 0, "point", 0)
NOTE = ("annotations", 0)


@pytest.mark.parametrize(
    ("make", "path", "to", "message"),
    [
        (clip17, ("annolist",), 3, "'annolist' is not a list"),
        (clip17, ("annolist", 1, "annorect"), "x", "frame 1: 'annorect' is not a list"),
        (clip17, ("annolist", 1, "annorect"), ["x"], "frame 1: 'annorect' holds"),
        (clip17, (*RECT, "track_id"), [], r"frame 0, person 0: 'track_id' is \[\]"),
        (clip17, (*RECT, "track_id"), [1.5], "'track_id' is 1.5, expected a whole"),
        (clip17, (*RECT, "track_id"), True, "'track_id' is True"),
        (clip17, (*RECT, "x2"), [None], "person 0: a corner of the head is None"),
        (clip17, (*POINT, "x"), [math.nan], "frame 0, person 0: 'x' of a point is nan"),
        (clip17, (*POINT, "y"), ["1"], "'y' of a point is '1'"),
        (clip17, (*POINT, "score"), [math.inf], "'score' of a point is inf"),
        (clip17, (*POINT, "score"), [math.nan], "frame 0, person 0: 'score' of a point is nan"),
        (clip17, (*POINT, "x"), [1, 2], r"'x' of a point is \[1, 2\]"),
        (clip17, (*POINT, "x"), [], r"'x' of a point is \[\]"),
        (clip17, ("annolist", 1, "annorect", 0, "annopoints", 0, "point"),
         [point(3, 1, 2), point(3, None, 2)], "frame 1, person 0: 'x' of a point is None"),
        (clip17, (*POINT, "id"), [15], "frame 0, person 0: joint id 15, expected 0 to 14"),
        (clip17, (*POINT, "id"), [0.5], "joint id 0.5"),
        (clip17, POINT, 7, "frame 0, person 0: 'point' holds"),
        (clip17, ("annolist", 1, "annorect"), [rect(3, []), rect(3, [])],
         r"frame 1: track ids \[3, 3\] repeat"),
        (clip17, ("annolist", 0, "ignore_regions", 0, "point"), [{"x": [1], "y": [1]}],
         "frame 0: an ignore region is no polygon"),
        (clip17, ("annolist", 0, "ignore_regions", 0, "point", 1), {"x": [1]}, "'y' of a region"),
        (clip18, ("categories",), None, "'categories' .* is missing"),
        (clip18, ("categories",), [], "'categories' .* is missing"),
        (clip18, ("categories", 0, "keypoints", 0), "snout", "lacks the joints nose"),
        (clip18, ("images",), [{"file_name": "a"}], "has no 'id'"),
        (clip18, ("images", 0, "id"), 7, "an id occurs twice"),
        (clip18, ("images", 0, "vid_id"), "000002", "holds 2 videos"),
        (clip18, (*NOTE, "image_id"), 8, "annotation 0 is of image 8"),
        (clip18, NOTE, 8, "annotation 0 is of image None"),
        (clip18, (*NOTE, "keypoints"), [0] * 48, "frame 1, person 0: 48 numbers in 'keypoints'"),
        (clip18, (*NOTE, "scores"), [0.5] * 16, "16 in 'scores'"),
        (clip18, (*NOTE, "scores", 3), math.nan, "person 0: a number in 'scores' is nan"),
        (clip18, (*NOTE, "bbox_head"), [1, 2, 3], "'bbox_head' has 3 numbers"),
        (clip18, (*NOTE, "track_id"), None, "'track_id' is None"),
        (clip18, ("images", 1, "ignore_regions_x"), [[0, 4]], "differ in length"),
        (clip18, ("annotations",), None, "'annotations' is not a list"),
        (clip18, ("annotations",), [clip18()["annotations"][0]] * 2,
         r"frame 1: track ids \[2, 2\] repeat"),
        (clip18, (*NOTE, "keypoints"), [10**400] * 51, "person 0: a number in 'keypoints' is inf"),
        (clip18, (*NOTE, "keypoints"), [math.inf] * 51, "person 0: a number in 'keypoints' is inf"),
        (clip18, (*NOTE, "bbox_head"), [1, 2, 3, None], "person 0: a side of 'bbox_head' is None"),
    ],
)  # fmt: skip
def test_damage_is_named_with_its_place(tmp_path, make, path, to, message):
    content = make()
    changed(content, *path, to=to)
    with pytest.raises(InputError, match=rf"clip\.json.*{message}"):
        read_posetrack(written(tmp_path, content))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "neither"),
        ("{}", "neither"),
        ('{"annolist": [', "cut short"),
        ('{"annolist": ' + "9" * 5000 + "}", "JSON"),
        ("[" * 200_000, "JSON"),
        ("\x80", "JSON"),
        ("", "is empty"),
        (" \n", "is empty"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_posetrack(written(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*nowhere"):
        read_posetrack(tmp_path / "nowhere.json")
    broken = tmp_path / "clip.json.gz"
    broken.write_bytes(gzip.compress(b'{"annolist": []}')[:-6])
    with pytest.raises(InputError, match=r"cannot read .*clip\.json\.gz"):
        read_posetrack(broken)
    broken.write_bytes(b"plain")
    with pytest.raises(InputError, match="cannot read"):
        read_posetrack(broken)


def test_folders_are_paired_by_name(tmp_path):
    truth, results = tmp_path / "truth", tmp_path / "results"
    truth.mkdir()
    results.mkdir()
    written(truth, clip17(), "b.json")
    written(truth, clip18(), "a.json.gz")
    written(results, clip17(), "b.posetrack.json")
    with pytest.raises(InputError, match=r"no results of a\.json\.gz, expected a\.json or"):
        read_pairs(truth, results)
    written(results, clip18(), "a.json")
    pairs = read_pairs(truth, results)
    assert [(t.name, r.name) for t, r in pairs] == [("a", "a"), ("b", "b.posetrack")]
    scores = evaluate([t for t, _ in pairs], [r for _, r in pairs])
    assert scores.mean_ap > 0
    ((one, other),) = read_pairs(truth / "b.json", results)
    assert (len(one), len(other)) == (4, 4)
    assert read_pairs(truth / "b.json", results / "b.posetrack.json")[0][0].name == "b"


def test_folders_without_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no \.json file"):
        read_pairs(tmp_path, tmp_path)
    path = written(tmp_path, clip17())
    with pytest.raises(InputError, match="is no folder"):
        read_pairs(tmp_path, path)


def test_the_written_formats_are_read_back(tmp_path):
    """What the tracker writes, in both years' formats, gives the same figures."""
    rng = np.random.default_rng(2)
    xy = rng.uniform(10, 200, (COUNT, 2)).round(2)
    points = [point(j, *xy[j].tolist(), 0.5) for j in range(COUNT)]
    old = {"annolist": [{"annorect": [rect(1, points)]}] * 2}
    slots = [JOINTS.index(n) if n in JOINTS else -1 for n in NAMES18]
    keypoints = [v for s in slots for v in ([*xy[s].tolist(), 1] if s >= 0 else [0, 0, 0])]
    new = {
        "images": [{"id": 0}, {"id": 1}],
        "categories": [{"keypoints": NAMES18}],
        "annotations": [
            {"image_id": i, "track_id": 1, "keypoints": keypoints, "scores": [0.5] * 17}
            for i in range(2)
        ],
    }
    truth = read_posetrack(written(tmp_path, old))
    for content in (old, new):
        scores = evaluate(truth, read_posetrack(written(tmp_path, content, "r.json")))
        assert (scores.mean_ap, scores.mota) == (100, 100)
