"""The fast counter equals the slow one on a real annotated video, and on real results."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from flowtrack.evaluation.posetrack import evaluate
from flowtrack.evaluation.posetrack_files import read_posetrack
from flowtrack.evaluation.posetrack_writing import write_posetrack
from flowtrack.evaluation.sequences import JOINT_SETS, PoseSequence
from tests.cli.test_commands import invoke
from tests.evaluation.samples import oracle_joints
from tests.real.test_real_material import make
from tests.reference import poseval


def disturbed(clip, oracle_clip, seed):
    """Results made from the truth: jitter, lost joints and people, exchanged ids; both forms."""
    rng = np.random.default_rng(seed)
    ours, theirs = [], []
    for frame, oracle_frame in zip(clip.frames, oracle_clip, strict=True):
        kept = rng.permutation(len(frame))[: rng.integers(2, len(frame) + 1)]
        xy = frame.xy[kept] + rng.normal(0, 6, (len(kept), 15, 2))
        xy[rng.random((len(kept), 15)) < 0.1] = np.nan
        score = rng.random((len(kept), 15))
        ids = frame.track_id[kept].copy()
        if rng.random() < 0.2:
            ids[:2] = ids[1::-1]
        ours.append(
            replace(frame, track_id=ids, xy=xy, score=score, head=np.full((len(kept), 4), np.nan))
        )
        people = tuple(poseval.Person(int(i), p, s) for i, p, s in zip(ids, xy, score, strict=True))
        theirs.append(replace(oracle_frame, people=people, rects=len(people)))
    return PoseSequence("results", tuple(ours)), theirs


@pytest.mark.parametrize("joints", JOINT_SETS)
def test_bonn_is_counted_as_by_the_oracle(real, joints):
    path = real / "bonn" / "posetrack17.json"
    clip, oracle_clip = read_posetrack(path), poseval.read_posetrack(path)
    results, oracle_results = disturbed(clip, oracle_clip, seed=4)
    scores = evaluate(clip, results, joints)
    names = oracle_joints(scores.joints)
    counts = poseval.mota(oracle_clip, oracle_results, names)
    assert scores.frames == 41
    assert scores.mota == pytest.approx(counts.total, abs=1e-9)
    for field in ("misses", "false_positives", "switches", "truths"):
        assert getattr(scores.tracking, field).tolist() == getattr(counts, field).tolist()
    assert counts.total_switches > 100
    assert 20 < scores.mota < 80
    total, _ = poseval.mean_ap(oracle_clip, oracle_results, names)
    assert scores.mean_ap == pytest.approx(total, abs=1e-9)
    assert scores.pckh == pytest.approx(poseval.pckh(oracle_clip, oracle_results, names))


def test_bonn_against_itself_is_perfect(real):
    clip = read_posetrack(real / "bonn" / "posetrack17.json")
    scores = evaluate(clip, clip, "body12")
    assert (scores.mean_ap, scores.mota, scores.pckh) == (100, 100, 100)
    assert (scores.tracking.people, scores.tracking.ids) == (4, 4)


def evaluated(truth, results, joints):
    """What the command says, and what the oracle says."""
    done = invoke(
        "eval", "posetrack", "--truth", truth, "--results", results, "--joints", joints, "--json"
    )
    assert done.exit_code == 0, done.output
    got = json.loads(done.stdout)
    names = oracle_joints(got["joints"])
    sides = poseval.read_posetrack(truth), poseval.read_posetrack(results)
    counts = poseval.mota(*sides, names)
    assert got["MOTA"] == pytest.approx(counts.total, abs=1e-4)
    assert got["switches"] == counts.total_switches
    assert (got["ids"], got["people"]) == (counts.ids, counts.truth_ids)
    assert got["mAP"] == pytest.approx(poseval.mean_ap(*sides, names)[0], abs=1e-4)
    plain = poseval.mota(*sides, names, drop_last=False, dummies=False)
    assert got["MOTA_corrected"] == pytest.approx(plain.total, abs=1e-4)
    return got


@pytest.mark.parametrize("year", [2017, 2018])
def test_written_results_are_counted_as_by_the_oracle(real, tmp_path, year):
    path = real / "bonn" / "posetrack17.json"
    results, _ = disturbed(read_posetrack(path), poseval.read_posetrack(path), seed=5)
    write_posetrack(tmp_path / "results.json", results, year)
    got = evaluated(path, tmp_path / "results.json", "shared13")
    assert 20 < got["MOTA"] < got["IDF1"] < 90


def test_tracked_poses_are_counted_as_by_the_oracle(real, tmp_path):
    bundle = make(tmp_path / "real.bundle", "--flow", "dis")
    done = invoke(
        "track", real / "bonn", "--bundle", bundle, "--out", tmp_path, "--formats",
        "posetrack,posetrack18",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    truth = real / "bonn" / "posetrack17.json"
    old = evaluated(truth, tmp_path / "bonn.posetrack.json", "body12")
    new = evaluated(truth, tmp_path / "bonn.posetrack18.json", "body12")
    assert old["MOTA"] == pytest.approx(new["MOTA"], abs=0.1)
    assert old["MOTA"] >= 83.5
    assert old["IDF1"] > 90
