"""The search finds planted optima, stays where nothing matters, and asks for each setting once."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.calibration.search import GRID, STEPS, around, search, value_of
from flowtrack.errors import InputError
from flowtrack.tracker.options import TrackerOptions

START = TrackerOptions()


def planted(best, weights=None):
    """An objective with its top at `best`: every option falls off with the distance in steps."""

    def objective(options):
        loss = 0.0
        for name, values in STEPS.items():
            row = [value for value in values if value is not None]
            places = [
                len(row) if value_of(o, name) is None else
                min(range(len(row)), key=lambda i, o=o: abs(row[i] - value_of(o, name)))
                for o in (options, best)
            ]  # fmt: skip
            loss += (weights or {}).get(name, 1.0) * abs(places[0] - places[1])
        return 80.0 - loss

    return objective


CHOICES = {name: st.sampled_from(values) for name, values in STEPS.items()}


@given(st.fixed_dictionaries(CHOICES))
def test_a_planted_optimum_is_found(best):
    if best["start_threshold"] is not None and best["start_threshold"] <= best["box_threshold"]:
        best["start_threshold"] = None  # the same
    asked = []
    objective = planted(replace(START, **best))

    def once(options):
        asked.append(options)
        return objective(options)

    found = search(once, START)
    for name, value in best.items():
        assert value_of(found.choice, name) == value
    assert found.values[found.choice] == max(found.values.values()) == 80.0
    assert len(asked) == len(set(asked)) == len(found.values)
    assert asked[0] == START


def test_thresholds_that_depend_on_each_other_are_found_together():
    """A ridge that no single step climbs: only a grid sees it."""

    def objective(options):
        on_ridge = abs(options.box_threshold + options.joint_threshold - 0.9) < 1e-9
        return 50.0 + 10 * options.joint_threshold if on_ridge else 40.0

    found = search(objective, START)
    assert found.choice.joint_threshold == 0.7
    assert found.choice.box_threshold == pytest.approx(0.2)
    steps_alone = search(objective, replace(START, box_threshold=0.6), {"nms_iou": (0.5,)})
    assert steps_alone.values[steps_alone.choice] < found.values[found.choice]


def test_where_nothing_matters_the_start_stays():
    start = TrackerOptions(box_threshold=0.37, queue=4, pose_nms=0.55)
    found = search(lambda _: 12.0, start)
    assert found.choice == start
    assert len(found.values) > 50


def test_around_the_choice_everything_was_tried():
    found = search(planted(replace(START, nms_iou=0.7)), START)
    for name, values in STEPS.items():
        row = around(found.choice, name)
        if name == "start_threshold":
            values = [value for value in values if value is None or value > 0.5]
        assert [value_of(options, name) for options in row] == list(values)
        assert all(options in found.values for options in row)


@pytest.mark.parametrize(
    ("start", "name", "values"),
    [
        (START, "queue", [1, 2, 3, 5, 7, 10, 15]),  # 10 is what None means here
        (replace(START, queue=4), "queue", [1, 2, 3, 4, 5, 7, 10, 15]),
        (TrackerOptions("bbox"), "queue", [1, 2, 3, 5, 7, 10, 15]),
        (TrackerOptions("flow"), "queue", []),
        (replace(START, box_threshold=0.5), "start_threshold", [0.6, 0.7, 0.8, None]),
        (replace(START, start_threshold=0.2), "start_threshold", [0.2, 0.6, 0.7, 0.8, None]),
        (replace(START, pose_nms=0.55), "pose_nms", [0.3, 0.4, 0.5, 0.55, 0.6, 0.7, 0.8, None]),
    ],
)
def test_values_around(start, name, values):
    row = around(start, name)
    assert [value_of(options, name) for options in row] == values
    assert sum(options == start for options in row) == bool(values)
    for options in row:
        changed = {key for key, value in options.to_dict().items() if value != start.to_dict()[key]}
        assert changed <= {name}


def test_every_similarity_can_be_searched():
    for similarity in ("bbox", "pose", "flow", "multi_flow"):
        start = TrackerOptions(similarity, propagate=False)
        found = search(lambda options: -options.nms_iou, start)
        assert found.choice == replace(start, nms_iou=STEPS["nms_iou"][0])


def test_an_objective_without_value_is_refused():
    with pytest.raises(InputError, match="no joints to find"):
        search(lambda _: float("nan"), START)


def test_the_papers_choice_is_on_the_grid():
    assert 0.5 in GRID["box_threshold"]
    assert 0.4 in GRID["joint_threshold"]
    assert all(set(GRID[name]) <= set(STEPS[name]) for name in GRID)
