"""Intervals over clips: fast draws against clips that are really put together anew."""

import numpy as np
import pytest

from flowtrack.errors import InputError, OptionError
from flowtrack.evaluation.bootstrap import Bootstrap
from flowtrack.evaluation.posetrack import MEASURES, PoseTrackScores, evaluate
from flowtrack.evaluation.sequences import PoseSequence, joint_rows
from tests.evaluation.samples import frame, person, random_clips, sequence


def scores_of(seed, clips=4, length=15, joints="all"):
    rng = np.random.default_rng(seed)
    truths, results = [], []
    for number in range(clips):
        truth, found = (sequence(one, f"clip{number}") for one in random_clips(rng, length))
        # No two scores alike: equal ones are ranked by the order of the clips.
        for one in found.frames:
            one.score[:] += rng.uniform(0, 1e-3, one.score.shape)
        truths.append(truth)
        results.append(found)
    return evaluate(truths, results, joints)


@pytest.fixture(scope="module")
def scores():
    return scores_of(1)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("joints", ["all", "body12"])
def test_draws_are_those_of_clips_put_together_anew(scores, measure, joints):
    scores = PoseTrackScores(joint_rows(joints), scores.clips)
    rng = np.random.default_rng(5)
    draws = Bootstrap(4, resamples=20, seed=5).draws(scores, measure)
    weights = rng.multinomial(4, np.full(4, 1 / 4), 20)
    assert (weights > 1).any()
    for weight, got in zip(weights, draws, strict=True):
        drawn = [
            clip for clip, times in zip(scores.clips, weight, strict=True) for _ in [0] * times
        ]
        again = PoseTrackScores(scores.rows, tuple(drawn))
        assert got == pytest.approx(again.total(measure), abs=1e-9)


def test_a_joint_that_is_nowhere_in_a_draw_is_left_out():
    both, one = frame(person(1, joints=[0, 1])), frame(person(1, joints=[0]))
    truths = [sequence([both] * 3, "a"), sequence([one] * 3, "b")]
    results = [sequence([one] * 3, "a"), sequence([one] * 3, "b")]
    scores = evaluate(truths, results, ["right_ankle", "right_knee"])
    draws = Bootstrap(2, resamples=50).draws(scores, "MOTA")
    assert set(draws.tolist()) == {50.0, 100.0}  # joint 1 is never found, and only in clip a
    # nobody predicts joint 1: AP 0, with poseval, wherever it is
    assert set(Bootstrap(2, resamples=50).draws(scores, "AP").tolist()) == {50.0}


def test_intervals_hold_the_value_and_follow_seed_and_level(scores):
    wide = Bootstrap(4, resamples=300).interval(scores, "MOTA")
    assert wide.value == pytest.approx(scores.mota)
    assert wide.low < wide.value < wide.high
    assert Bootstrap(4, resamples=300).interval(scores, "MOTA") == wide
    assert Bootstrap(4, resamples=300, seed=1).interval(scores, "MOTA") != wide
    narrow = Bootstrap(4, resamples=300, level=0.5).interval(scores, "MOTA")
    assert wide.low < narrow.low < narrow.high < wide.high
    draws = Bootstrap(4, resamples=300).draws(scores, "MOTA")
    assert (wide.low, wide.high) == tuple(np.percentile(draws, [2.5, 97.5]))


def test_a_difference_is_drawn_in_pairs(scores):
    bootstrap = Bootstrap(4, resamples=300)
    assert bootstrap.difference(scores, scores, "AP").low == 0
    assert bootstrap.difference(scores, scores, "AP").high == 0
    worse = PoseTrackScores(scores.rows, scores_of(2).clips)
    gain = bootstrap.difference(scores, worse, "MOTA")
    assert gain.value == pytest.approx(scores.mota - worse.mota)
    pairs = bootstrap.draws(scores, "MOTA") - bootstrap.draws(worse, "MOTA")
    assert (gain.low, gain.high) == tuple(np.percentile(pairs, [2.5, 97.5]))


def test_clips_that_are_all_alike_leave_no_doubt():
    truth, results = random_clips(np.random.default_rng(3), 20)
    same = [PoseSequence(f"clip{i}", sequence(truth).frames) for i in range(3)]
    scores = evaluate(same, [sequence(results)] * 3)
    for measure in ("MOTA", "IDF1", "HOTA"):
        found = Bootstrap(3).interval(scores, measure)
        assert found.low == pytest.approx(found.value)
        assert found.high == pytest.approx(found.value)


def test_wrong_requests_are_refused(scores):
    with pytest.raises(InputError, match="1 clips are given, expected two"):
        Bootstrap(1)
    for wrong in ({"resamples": 0}, {"level": 1.0}, {"level": 0.0}):
        with pytest.raises(OptionError, match="expected 1 or more"):
            Bootstrap(4, **wrong)
    with pytest.raises(InputError, match="has 4 clips, expected 5"):
        Bootstrap(5).interval(scores)
    with pytest.raises(OptionError, match="unknown measure 'PCK'"):
        Bootstrap(4).interval(scores, "PCK")
    others = PoseTrackScores(scores.rows, scores.clips[::-1])
    with pytest.raises(InputError, match="different clips"):
        Bootstrap(4).difference(scores, others)
