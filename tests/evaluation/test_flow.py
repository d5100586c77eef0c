"""End-point error and its relatives against plain loops, and flow brought to full size."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.errors import InputError
from flowtrack.evaluation.flow import FIGURES, FlowScores, TrueFlow, at_full_size
from flowtrack.structs import FlowField
from tests.reference.kernels import sample_flow


def oracle(truth, estimate, visible=None):
    """Figures of a pair as (sum, number of pixels), pixel by pixel."""
    found = {name: [0.0, 0] for name in FIGURES}

    def add(name, value):
        found[name][0] += value
        found[name][1] += 1

    height, width = truth.shape[1:]
    for y in range(height):
        for x in range(width):
            u, v = (float(part) for part in truth[:, y, x])
            if not (abs(u) <= 1e9 and abs(v) <= 1e9):
                continue
            error = math.hypot(float(estimate[0, y, x]) - u, float(estimate[1, y, x]) - v)
            speed = math.hypot(u, v)
            add("epe", error)
            add("fl", 100.0 * (error > 3 and error > 0.05 * speed))
            for limit in (1, 3, 5):
                add(f"beyond_{limit}px", 100.0 * (error > limit))
            add("epe_s0_10" if speed < 10 else "epe_s10_40" if speed < 40 else "epe_s40", error)
            if visible is not None:
                add("epe_matched" if visible[y, x] else "epe_occluded", error)
    return found


def mean(total, count):
    return total / count if count else math.nan


def assert_figures(figures, wanted):
    assert list(figures) == list(FIGURES)
    for name, value in wanted.items():
        assert figures[name] == pytest.approx(value, rel=1e-5, abs=1e-6, nan_ok=True), name


# Whole numbers meet the limits exactly: 3-4-5 and 24-7-25 triangles, and many errors of 1, 3, 5.
whole_px = st.sampled_from([-40, -24, -10, -7, -5, -4, -3, -1, 0, 1, 3, 4, 6, 8, 30, 60, 80])


@st.composite
def pairs(draw):
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    cells = height * width

    def flow():
        values = draw(st.lists(whole_px, min_size=2 * cells, max_size=2 * cells))
        return np.array(values, np.float32).reshape(2, height, width)

    truth, estimate = flow(), flow()
    for index in draw(st.sets(st.integers(0, cells - 1), max_size=cells - 1)):
        y, x = divmod(index, width)
        truth[draw(st.integers(0, 1)), y, x] = draw(st.sampled_from([1e10, -1e10, math.nan]))
        estimate[:, y, x] = draw(st.sampled_from([0.0, math.nan]))
    bits = draw(st.none() | st.lists(st.booleans(), min_size=cells, max_size=cells))
    return truth, estimate, None if bits is None else np.array(bits).reshape(height, width)


@given(pairs())
def test_a_pair_is_counted_as_by_plain_loops(pair):
    truth, estimate, visible = pair
    errors = TrueFlow("pair", truth, visible).errors(estimate)
    wanted = oracle(*pair)
    assert errors.count.tolist() == [count for _, count in wanted.values()]
    assert errors.total.tolist() == pytest.approx([t for t, _ in wanted.values()], rel=1e-5)
    assert_figures(errors.figures, {name: mean(*both) for name, both in wanted.items()})
    assert (errors.epe, errors.pixels) == (errors.figures["epe"], wanted["epe"][1])


@given(st.lists(pairs(), min_size=1, max_size=4))
def test_a_set_is_averaged_both_ways(drawn):
    scores = FlowScores(tuple(TrueFlow("p", t, v).errors(e) for t, e, v in drawn))
    each = [oracle(*pair) for pair in drawn]
    for name in FIGURES:
        sums = [pair[name] for pair in each]
        means = [mean(*both) for both in sums if both[1]]
        over_pairs = mean(sum(means), len(means))
        over_pixels = mean(sum(t for t, _ in sums), sum(n for _, n in sums))
        assert scores.over_pairs[name] == pytest.approx(over_pairs, rel=1e-5, nan_ok=True), name
        assert scores.over_pixels[name] == pytest.approx(over_pixels, rel=1e-5, nan_ok=True), name
    assert (scores.epe, scores.fl) == (scores.over_pairs["epe"], scores.over_pairs["fl"])
    assert scores.pixels == sum(pair["epe"][1] for pair in each)


def one_pixel(true, estimated):
    figures = TrueFlow("p", np.reshape(true, (2, 1, 1))).errors(np.reshape(estimated, (2, 1, 1)))
    return figures.figures


@pytest.mark.parametrize(
    ("true", "estimated", "epe", "outlier"),
    [
        ((0, 0), (3, 4), 5, True),
        ((0, 0), (3, 0), 3, False),  # 3 px are not more than 3 px
        ((0, 0), (3.001, 0), 3.001, True),
        ((100, 0), (104, 0), 4, False),  # 4 px, but 4 % only
        ((100, 0), (106, 0), 6, True),
        ((80, 0), (84, 0), 4, False),  # 5 % are not more than 5 %
        ((1e9, 0), (1e9, 0), 0, False),  # the largest flow that is known
    ],
)
def test_outliers_are_far_off_in_pixels_and_in_proportion(true, estimated, epe, outlier):
    figures = one_pixel(true, estimated)
    assert figures["epe"] == pytest.approx(epe)
    assert figures["fl"] == 100 * outlier


@pytest.mark.parametrize(
    ("speed", "name"),
    [(0, "epe_s0_10"), (9.99, "epe_s0_10"), (10, "epe_s10_40"), (39.99, "epe_s10_40"),
     (40, "epe_s40"), (500, "epe_s40")],
)  # fmt: skip
def test_speeds(speed, name):
    figures = one_pixel((speed, 0), (speed, 2))
    speeds = {key: value for key, value in figures.items() if key.startswith("epe_s")}
    assert [key for key, value in speeds.items() if not math.isnan(value)] == [name]


def scores_of(*errors, name="pair"):
    """Pairs of one pixel each that are off by so many px."""
    truth = np.zeros((2, 1, 1), np.float32)
    return FlowScores(
        tuple(
            TrueFlow(f"{name}{index}", truth).errors(np.full((2, 1, 1), error / math.sqrt(2)))
            for index, error in enumerate(errors)
        )
    )


def test_the_worst_pairs_come_first():
    assert scores_of(1, 7, 3, 7, 0).worst(3) == [1, 3, 2]
    assert scores_of(1, 2).worst(9) == [1, 0]


def test_the_distribution_of_errors():
    curve = scores_of(0, 0.5, 2.0, 2.5, 1e4).cumulative()
    shares = {0.4: 20, 0.6: 40, 1.9: 40, 2.2: 60, 3.0: 80, 890: 80, 900: 100}
    for px, share in shares.items():
        assert max(s for limit, s in curve if limit <= px) == share, px
    assert curve[0] == (0, 0)
    assert np.all(np.diff(np.array(curve), axis=0) >= 0)


def test_parts_of_a_set_are_its_folders():
    pairs = scores_of(1, 3, name="a/x/").pairs + scores_of(5, name="b/").pairs
    alone = scores_of(9)
    groups = FlowScores(pairs + alone.pairs).groups()
    assert {name: part.epe for name, part in groups.items()} == pytest.approx(
        {"a": 2, "b": 5, "": 9}
    )
    assert set(FlowScores(pairs).as_dict()["groups"]) == {"a", "b"}
    assert alone.as_dict()["groups"] == {}


def test_everything_goes_into_json():
    content = scores_of(2, 4).as_dict()
    assert content["mean_over_pairs"]["epe"] == content["mean_over_pixels"]["epe"] == 3
    assert content["mean_over_pairs"]["epe_matched"] is None
    assert [(p["name"], p["pixels"], p["epe"]) for p in content["pairs"]] == [
        ("pair0", 1, 2),
        ("pair1", 1, 4),
    ]


def test_no_pairs_are_no_scores():
    with pytest.raises(InputError, match="no pairs"):
        FlowScores(())


GOOD = np.zeros((2, 3, 4), np.float32)


@pytest.mark.parametrize(
    ("truth", "visible", "message"),
    [(np.zeros((3, 4)), None, "true flow has shape"),
     (np.full((2, 3, 4), 1e10), None, "known at no pixel"),
     (GOOD, np.ones((4, 3), bool), r"visible has shape \(4, 3\), expected \(3, 4\)")],
)  # fmt: skip
def test_a_truth_that_is_none_is_refused(truth, visible, message):
    with pytest.raises(InputError, match=message):
        TrueFlow("pair", truth, visible)


@pytest.mark.parametrize(
    ("estimate", "message"),
    [(np.zeros((2, 4, 3)), r"\(2, 4, 3\), expected \(2, 3, 4\)"),
     (np.full((2, 3, 4), np.nan), "at x 0, y 0"), (np.full((2, 3, 4), 2e9), "at x 0, y 0")],
)  # fmt: skip
def test_an_estimate_that_does_not_fit_is_refused(estimate, message):
    with pytest.raises(InputError, match=message):
        TrueFlow("pair", GOOD).errors(estimate)


@pytest.mark.parametrize("size", [(12, 16), (6, 8), (3, 4), (5, 7), (24, 32), (1, 1)])
def test_flow_at_full_size_is_what_the_tracker_samples(size):
    """Every pixel of a 12 x 16 picture, from grids coarser and finer, even and odd."""
    height, width = 12, 16
    uv = np.random.default_rng(5).normal(0, 9, (2, *size)).astype(np.float32)
    scale = (size[1] / width, size[0] / height)
    dense = at_full_size(FlowField(uv, scale, 0, 1), height, width)
    points = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    wanted = sample_flow(uv, scale, points.astype(float)).transpose(2, 0, 1)
    assert dense.dtype == np.float32
    np.testing.assert_allclose(dense, wanted, atol=1e-4)


def test_flow_of_another_picture_is_refused():
    field = FlowField(np.zeros((2, 6, 8), np.float32), (0.5, 0.5), 0, 1)
    with pytest.raises(InputError, match="does not cover a picture of 20 x 12 px"):
        at_full_size(field, 12, 20)
