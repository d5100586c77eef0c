"""Tiny scenarios counted by hand, and random ones counted by motmetrics."""

import json
import math

import motmetrics
import numpy as np
import pytest

from tests.reference import poseval
from tests.reference.poseval import COUNT, JOINTS, LabelledFrame, Person, mota

HEAD = (0.0, 0.0, 30.0, 40.0)  # normaliser 30 px: a joint matches up to 15 px
NAN = math.nan


def person(track_id, x=0.0, y=0.0, joints=range(COUNT), score=1.0):
    """A person whose joints all lie at one place."""
    xy = np.full((COUNT, 2), NAN)
    xy[list(joints)] = x, y
    return Person(track_id, xy, np.full(COUNT, score), HEAD)


def frame(*people, ignore=()):
    return LabelledFrame(people, tuple(np.array(polygon, float) for polygon in ignore))


def counts(result, joint=0):
    arrays = result.misses, result.false_positives, result.switches, result.truths
    return tuple(int(array[joint]) for array in arrays)


def whole(truth, results, **options):
    """Every frame counted, poseval's quirks off."""
    return mota(truth, results, drop_last=False, dummies=False, **options)


TWO = frame(person(1, 0), person(2, 100))


def test_perfect_results():
    result = mota([TWO] * 4, [frame(person(8, 100), person(7, 0))] * 4)
    assert result.total == 100
    assert (result.ids, result.truth_ids, result.total_switches) == (2, 2, 0)
    assert set(result.per_joint.values()) == {100}


def test_two_people_and_one_empty_frame_give_77_8():
    result = mota([TWO] * 6, [TWO, TWO, frame(), TWO, TWO, TWO])
    assert counts(result) == (1, 1, 0, 9)  # four frames of two, one dummy, the last dropped
    assert round(result.total, 1) == 77.8
    corrected = whole([TWO] * 6, [TWO, TWO, frame(), TWO, TWO, TWO])
    assert counts(corrected) == (2, 0, 0, 12)


def test_last_labelled_frame_is_dropped():
    empty = frame()
    truth = [TWO, TWO, TWO, empty]  # the last *labelled* frame is the third
    results = [TWO, TWO, frame(person(1, 500), person(2, 600)), frame(person(1, 0))]
    assert counts(mota(truth, results)) == (0, 0, 0, 4)
    assert counts(mota(truth, results, drop_last=False)) == (2, 2, 0, 6)


def test_frames_without_truth_go_together_with_their_predictions():
    nobody = frame()
    result = whole([TWO, nobody, TWO], [TWO, frame(person(3), person(4)), TWO])
    assert counts(result) == (0, 0, 0, 4)


def test_truth_that_has_only_people_without_points_is_a_dummy_frame():
    pointless = LabelledFrame((), rects=2)
    assert counts(mota([pointless, TWO], [TWO, TWO])) == (1, 1, 0, 1)
    assert counts(whole([pointless, TWO], [TWO, TWO])) == (0, 2, 0, 2)


def test_truth_emptied_by_an_ignored_region_is_a_dummy_frame():
    square = [(-10, -10), (10, -10), (10, 10), (-10, 10)]
    truth = [frame(person(1), ignore=[square]), TWO]
    results = [frame(person(1), person(2, 100)), TWO]
    assert counts(mota(truth, results, drop_last=False)) == (1, 1, 0, 3)
    assert counts(whole(truth, results)) == (0, 1, 0, 2)


@pytest.mark.parametrize(
    ("x", "y", "inside"),
    [(5, 5, True), (0, 5, False), (10, 10, False), (3, 10, False), (11, 5, False), (5, -1, False)],
)
def test_outline_of_a_region_is_not_inside(x, y, inside):
    square = np.array([(0, 0), (10, 0), (10, 10), (0, 10)], float)
    assert poseval.strictly_inside(x, y, square) is inside


def test_inside_of_a_concave_region():
    notch = np.array([(0, 0), (10, 0), (10, 10), (5, 5), (0, 10)], float)
    assert not poseval.strictly_inside(5, 8, notch)
    assert poseval.strictly_inside(5, 4, notch)


def test_ignored_region_removes_joints_of_both_sides():
    region = [(90, -10), (110, -10), (110, 10), (90, 10)]
    truth = [frame(person(1), person(2, 100), ignore=[region])]
    # The false person 9 lies in the region; person 5 does not.
    results = [frame(person(1), person(9, 105), person(5, 200))]
    assert counts(whole(truth, results)) == (0, 1, 0, 1)


def test_switch():
    a, b = frame(person(7)), frame(person(8))
    result = whole([frame(person(1))] * 4, [a, a, b, b])
    assert counts(result) == (0, 0, 1, 4)
    assert result.total_switches == COUNT
    assert result.total == 75


def test_a_switch_is_seen_across_a_gap():
    truth = [frame(person(1))] * 4
    results = [frame(person(7)), frame(person(7, 500)), frame(person(8)), frame(person(7))]
    assert counts(whole(truth, results)) == (1, 1, 2, 4)


def test_correspondence_is_kept_over_a_gap_against_a_nearer_rival():
    truth = [frame(person(1))] * 3
    gap = frame(person(7, 500))
    results = [frame(person(7)), gap, frame(person(8, 1), person(7, 14))]
    assert counts(whole(truth, results)) == (1, 2, 0, 3)


def test_correspondence_beyond_the_threshold_is_given_up():
    truth = [frame(person(1))] * 2
    at, beyond = frame(person(8, 1), person(7, 15)), frame(person(8, 1), person(7, 15.01))
    assert counts(whole(truth, [frame(person(7)), at])) == (0, 1, 0, 2)
    assert counts(whole(truth, [frame(person(7)), beyond])) == (0, 1, 1, 2)


def test_predicted_joint_where_none_is_labelled():
    truth = [frame(person(1, joints=[0, 1]))]
    results = [frame(person(1, joints=[0, 1, 2]))]
    result = whole(truth, results)
    assert counts(result, 2) == (0, 1, 0, 0)
    assert result.per_joint == {JOINTS[0]: 100, JOINTS[1]: 100}  # nothing to divide by


def test_most_people_are_matched_before_the_distance_is_minimised():
    truth = [frame(person(1, 0), person(2, 14))]
    results = [frame(person(7, 13), person(8, 28))]  # 7 is nearest to 2, but 1 has only 7
    assert counts(whole(truth, results)) == (0, 0, 0, 2)


def test_tie_is_a_match_either_way():
    truth = [frame(person(1, 0))]
    results = [frame(person(7, 5), person(8, -5))]
    assert counts(whole(truth, results)) == (0, 1, 0, 1)


def test_joints_asked_for():
    truth = [frame(person(1, joints=[0, 1]))]
    results = [frame(person(1, joints=[0]))]
    assert whole(truth, results).total == 50
    assert whole(truth, results, joints=["right_ankle", "nose"]).total == 100
    with pytest.raises(ValueError, match="elbows"):
        mota(truth, results, joints=["elbows"])


def test_sequences_are_summed_and_share_no_memory():
    first, second = [frame(person(7))] * 3, [frame(person(8))] * 3
    truth = [frame(person(1))] * 3
    result = mota([truth, truth], [first, second])
    assert counts(result) == (0, 0, 0, 4)
    assert (result.ids, result.truth_ids) == (2, 2)


def test_lengths_and_ids_are_checked():
    with pytest.raises(ValueError, match="1 frames of truth, 2 of results"):
        mota([TWO], [TWO, TWO])
    with pytest.raises(ValueError, match="repeat"):
        frame(person(1), person(1))


@pytest.mark.parametrize("seed", range(12))
def test_counter_agrees_with_motmetrics(seed):
    rng = np.random.default_rng(seed)
    counter, accumulator = poseval.JointCounter(), motmetrics.MOTAccumulator(auto_id=True)
    for _ in range(60):
        truth_ids = rng.permutation(6)[: rng.integers(0, 7)].tolist()
        ids = rng.permutation(8)[: rng.integers(0, 9)].tolist()
        distance = rng.uniform(0, 0.5, (len(truth_ids), len(ids)))
        distance[rng.random(distance.shape) < rng.choice([0.2, 0.6, 0.9])] = NAN
        counter.update(truth_ids, ids, distance)
        accumulator.update(truth_ids, ids, distance)
    metrics = ["num_misses", "num_false_positives", "num_switches", "num_objects"]
    want = motmetrics.metrics.create().compute(accumulator, metrics=metrics, return_dataframe=False)
    got = counter.misses, counter.false_positives, counter.switches, counter.truths
    assert got == tuple(want[name] for name in metrics)
    assert min(got) > 0


def test_a_pose_is_assigned_to_its_best_person_and_a_person_takes_its_best_pose():
    near = np.zeros((2, 3, COUNT), bool)
    near[0, 0, :5] = near[1, 0, :5] = True  # pose 0: a tie, goes to person 0
    near[0, 1, :9] = True  # pose 1 fits person 0 better
    near[1, 2, :1] = True
    labelled = np.array([15, 15])
    assert poseval.assign_poses(near, labelled) == {1: 0, 2: 1}
    # Five of five labelled joints beat five of fifteen.
    assert poseval.assign_poses(near[:, :1], np.array([15, 5])) == {0: 1}


def test_average_precision_by_hand():
    # Hits at ranks 1 and 3 of 4 to find: 1/4 * 1 + 1/4 * 2/3.
    assert poseval.average_precision([0.9, 0.8, 0.7], [True, False, True], 4) == pytest.approx(
        0.25 + 0.25 * 2 / 3
    )
    # Precision rises again: the envelope counts.
    assert poseval.average_precision([3, 2, 1], [False, True, True], 2) == pytest.approx(2 / 3)
    assert poseval.average_precision([], [], 0) == 0
    assert math.isnan(poseval.average_precision([1.0], [False], 0))


def test_mean_ap():
    truth = [frame(person(1), person(2, 100))] * 2
    results = [
        frame(person(1, score=0.9), person(2, 500, score=0.8)),  # one pose unassigned
        frame(person(1, score=0.7)),
    ]
    total, each = poseval.mean_ap(truth, results)
    assert total == pytest.approx(100 * (0.25 + 0.25 * 2 / 3))
    assert each["nose"] == total
    assert poseval.pckh(truth, results) == 50


def test_mean_ap_counts_joints_that_are_not_labelled_as_false_but_has_no_value_for_them():
    truth = [frame(person(1, joints=[0, 1]))]
    total, each = poseval.mean_ap(truth, [frame(person(1, joints=[0, 2]))])
    assert (each["right_ankle"], each["right_knee"]) == (100, 0)
    assert math.isnan(each["right_hip"])
    assert total == pytest.approx(100 / 14)  # poseval counts joints nobody predicted as 0


def rect17(track_id, points, head=(0, 0, 30, 40)):
    named = dict(zip(("x1", "y1", "x2", "y2"), ([value] for value in head), strict=True))
    point = [{"id": [j], "x": [x], "y": [y], "score": [s]} for j, x, y, s in points]
    return {**named, "track_id": [track_id], "annopoints": [{"point": point}]}


def test_read_posetrack17(tmp_path):
    region = {"point": [{"x": [0], "y": [0]}, {"x": [4], "y": [0]}, {"x": [0], "y": [4]}]}
    rects = [rect17(3, [(0, 1, 2, 0.5), (0, 8, 8, 0.1)]), {**rect17(4, []), "annopoints": []}]
    content = {
        "annolist": [
            {"image": [{"name": "a.jpg"}], "annorect": rects, "ignore_regions": [region]},
            {"image": [{"name": "b.jpg"}], "annorect": [rect17(3, [])]},
        ]
    }
    path = tmp_path / "clip.json"
    path.write_text(json.dumps(content))
    first, second = poseval.read_posetrack(path)
    assert [p.track_id for p in first.people] == [3]
    assert first.rects == 2
    assert first.people[0].xy[0].tolist() == [1, 2]
    assert first.people[0].score[0] == 0.5
    assert first.people[0].has.tolist() == [True] + [False] * 14
    assert first.people[0].normaliser == 30
    assert first.ignore[0].tolist() == [[0, 0], [4, 0], [0, 4]]
    assert (first.name, second.name) == ("a.jpg", "b.jpg")
    assert len(second.people) == 1  # a list of points without points is still a person


def test_read_posetrack18(tmp_path):
    names = ["nose", "head_bottom", "left_ear", "right_ankle"]
    annotation = {
        "image_id": 7, "track_id": 2, "bbox_head": [5, 5, 30, 40], "scores": [0.1, 0.2, 0.3, 0.4],
        "keypoints": [1, 2, 1, 3, 4, 0, 9, 9, 1, 0, 0, 0],
    }  # fmt: skip
    images = [
        {"id": 6, "file_name": "a.jpg"},
        {"id": 7, "file_name": "b.jpg", "ignore_regions_x": [[0, 4, 0]],
         "ignore_regions_y": [[0, 0, 4]]},
    ]  # fmt: skip
    path = tmp_path / "clip.json"
    content = {"images": images, "annotations": [annotation], "categories": [{"keypoints": names}]}
    path.write_text(json.dumps(content))
    first, second = poseval.read_posetrack(path)
    assert first.people == ()
    (who,) = second.people
    assert who.xy[JOINTS.index("nose")].tolist() == [1, 2]
    assert who.xy[JOINTS.index("neck")].tolist() == [3, 4]
    assert who.score[JOINTS.index("neck")] == 0.2
    assert int(who.has.sum()) == 2
    assert (who.track_id, who.normaliser) == (2, 30)
    assert second.ignore[0].tolist() == [[0, 0], [4, 0], [0, 4]]


def test_command_prints_a_table(tmp_path, capsys):
    rects = [rect17(1, [(0, 1, 2, 0.5), (13, 5, 5, 0.5)])]
    path = tmp_path / "clip.json"
    path.write_text(json.dumps({"annolist": [{"annorect": rects}] * 3}))
    poseval.main([str(path), str(path), "--joints", "body12"])
    text = capsys.readouterr().out
    assert "right_ankle" in text
    assert "nose" not in text
    assert "ids 1 for 1 people" in text
    assert text.splitlines()[1].split() == ["right_ankle", "2", "0", "0", "0", "100.0", "100.0"]
