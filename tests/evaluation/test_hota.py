"""HOTA: tiny clips by hand, and random ones against a slow counter."""

import math

import numpy as np
import pytest

from flowtrack.evaluation.comparison import compare
from flowtrack.evaluation.hota import ALPHAS, HotaCounts, count_hota
from flowtrack.evaluation.mot_boxes import compare_boxes
from tests.evaluation.samples import (
    COUNT,
    boxes,
    frame,
    of_thing,
    person,
    random_comparison,
    sequence,
)
from tests.reference import hota

ONE, SEVEN, EIGHT = frame(person(1)), frame(person(7)), frame(person(8))


def counted(truth, results):
    return count_hota(compare(sequence(truth), sequence(results)))


def figures(counts, thing=0):
    return [float(v[thing]) for v in (counts.hota, counts.det_a, counts.ass_a, counts.loc_a)]


@pytest.mark.parametrize("seed", range(10))
def test_every_thing_agrees_with_the_oracle(seed):
    compared, frames = random_comparison(np.random.default_rng(seed), 25, things=2, crowd=4)
    counts = count_hota(compared)
    for thing in range(2):
        plain = []
        for one in frames:
            truth_ids, ids, distance = of_thing(one, thing)
            plain.append((truth_ids, ids, np.maximum(1 - distance / 0.5, 0).tolist()))
        want = hota.hota(plain)
        got = figures(counts, thing)
        assert got == pytest.approx(
            [100 * v for v in (want.hota, want.det_a, want.ass_a, want.loc_a)], abs=1e-9
        )
        assert 0 < min(got) < max(got) < 100


def test_perfect():
    assert figures(counted([ONE] * 3, [SEVEN] * 3)) == [100, 100, 100, 100]


def test_a_switch_half_way():
    # Every find shares its id with half of the person's frames: TPA 2, FNA 2, FPA 0.
    got = figures(counted([ONE] * 4, [SEVEN, SEVEN, EIGHT, EIGHT]))
    assert got == pytest.approx([100 * math.sqrt(0.5), 100, 50, 100])


def test_misses_and_false_ones():
    # Two finds, a miss and a false one; each find: TPA 2, FNA 1, FPA 0.
    got = figures(counted([ONE] * 3, [SEVEN, SEVEN, frame(person(9, 500))]))
    assert got == pytest.approx([100 * math.sqrt(0.5 * 2 / 3), 50, 100 * 2 / 3, 100])


@pytest.mark.parametrize(
    ("x", "reached"), [(0, 19), (0.75, 19), (7.5, 10), (7.6, 9), (14.2, 1), (14.3, 0), (15, 0)]
)
def test_thresholds_that_a_joint_reaches(x, reached):
    """Similarity 1 - d / 0.5 at x px, of 30 px a head: thresholds up to it, inclusive."""
    counts = counted([ONE], [frame(person(7, x))])
    assert counts.found[:, 0].tolist() == [1] * reached + [0] * (19 - reached)


def test_the_id_that_agrees_over_the_clip_is_matched_before_the_nearer_one():
    truth = [ONE] * 4
    results = [SEVEN] * 3 + [frame(person(8, 1), person(7, 2))]
    counts = counted(truth, results)
    assert counts.found[0, 0] == 4
    assert counts.association[0, 0] == pytest.approx(4)  # all four under id 7


def test_without_truth_there_is_no_value():
    for counts in (HotaCounts.zero(), counted([frame(rects=1)], [SEVEN])):
        assert np.isnan(figures(counts)).all()
    nothing_found = counted([ONE], [frame()])
    assert figures(nothing_found) == [0, 0, 0, 100]


def test_clips_are_added_and_share_no_ids():
    clips = counted([ONE] * 2, [SEVEN] * 2), counted([ONE] * 2, [EIGHT] * 2)
    both = clips[0] + clips[1]
    assert figures(both) == [100, 100, 100, 100]
    assert (both.truths.tolist(), both.results.tolist()) == ([4] * COUNT, [4] * COUNT)


def test_similarity_of_boxes_is_their_overlap():
    compared = compare_boxes(boxes([(1, 1, 0, 0)]), boxes([(1, 5, 2, 0)]))
    counts = count_hota(compared)
    overlap = 8 / 12
    assert figures(counts)[3] == pytest.approx(
        100 * (overlap * 13 + 6) / 19  # at the 6 thresholds where nothing is found it is 100
    )
    assert counts.found[:, 0].tolist() == (overlap >= ALPHAS).astype(int).tolist()
