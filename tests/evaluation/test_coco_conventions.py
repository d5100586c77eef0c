"""The conventions of Simple Baselines: rows computed by hand, and a suppression by plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.evaluation.coco_conventions import oks_nms, person_scores

SIGMAS = [.026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087, .087,
          .089, .089]  # fmt: skip


@pytest.mark.parametrize(
    ("box", "joints", "score"),
    [
        (1.0, [0.5, 0.7, 0.9], 0.7),
        (0.5, [0.5, 0.7, 0.9], 0.35),
        (0.5, [0.1, 0.2, 0.9], 0.45),  # 0.2 itself is not above 0.2
        (0.9, [0.2, 0.1, 0.0], 0.0),
        (0.8, [1.2, 0.8, -0.3], 0.8),  # a heatmap may exceed 1, or stay below 0
        (0.0, [0.9, 0.9, 0.9], 0.0),
    ],
)
def test_the_score_of_a_person(box, joints, score):
    assert person_scores([box], [joints]) == pytest.approx([score])


def test_people_are_scored_each_by_themselves():
    assert person_scores([1.0, 0.5], [[0.4, 0.1], [0.6, 0.8]]) == pytest.approx([0.4, 0.35])
    assert person_scores([], np.zeros((0, 17))).shape == (0,)


def similarity(a, b, area_a, area_b):
    total = 0.0
    for joint, sigma in enumerate(SIGMAS):
        d2 = (a[joint][0] - b[joint][0]) ** 2 + (a[joint][1] - b[joint][1]) ** 2
        total += math.exp(-d2 / (2 * ((area_a + area_b) / 2) * (2 * sigma) ** 2))
    return total / len(SIGMAS)


def by_loops(xy, score, area, threshold):
    waiting = sorted(range(len(score)), key=lambda i: (-score[i], i))
    kept = []
    while waiting:
        best = waiting.pop(0)
        kept.append(best)
        waiting = [i for i in waiting
                   if similarity(xy[i], xy[best], area[i], area[best]) <= threshold]  # fmt: skip
    return kept


@given(st.integers(0, 2**32 - 1), st.integers(0, 7), st.sampled_from([0.3, 0.6, 0.9]))
def test_suppression_agrees_with_plain_loops(seed, people, threshold):
    rng = np.random.default_rng(seed)
    shape = rng.uniform(0, 60, (17, 2))
    xy = shape + rng.normal(0, 1, (people, 17, 2)) * rng.choice([0.3, 2, 6, 40], (people, 1, 1))
    score = rng.integers(0, 5, people) / 4  # with ties
    area = rng.uniform(500, 8000, people)
    assert oks_nms(xy, score, area, threshold).tolist() == by_loops(xy, score, area, threshold)


def test_of_two_alike_the_better_stays_and_the_area_is_the_mean_of_both():
    """One pixel off everywhere at the mean area A: OKS = mean over joints of exp(-1/(8 A s^2))."""
    xy = np.stack([np.zeros((17, 2)), np.tile([1.0, 0.0], (17, 1))])
    oks = np.mean([math.exp(-1 / (8 * 600 * s * s)) for s in SIGMAS])
    assert oks_nms(xy, [0.4, 0.5], [400, 800], oks - 1e-6).tolist() == [1]
    assert oks_nms(xy, [0.4, 0.5], [400, 800], oks + 1e-6).tolist() == [1, 0]
    assert oks_nms(xy, [0.5, 0.5], [400, 800], oks - 1e-6).tolist() == [0]


def test_a_suppressed_pose_suppresses_nobody():
    xy = np.stack([np.full((17, 2), x) for x in (0.0, 3.0, 6.0)])
    area = [2000.0] * 3
    near, far = similarity(xy[0], xy[1], 2000, 2000), similarity(xy[0], xy[2], 2000, 2000)
    assert far < near
    assert oks_nms(xy, [0.9, 0.8, 0.7], area, (near + far) / 2).tolist() == [0, 2]


def test_no_poses_give_none():
    assert oks_nms(np.zeros((0, 17, 2)), [], []).tolist() == []
