"""Tiny clips for the tests of evaluation, as the package and as the oracle have them."""

from __future__ import annotations

import math

import numpy as np

from flowtrack.evaluation.comparison import Comparison, pair_starts
from flowtrack.evaluation.mot_boxes import BoxSequence
from flowtrack.evaluation.sequences import JOINTS, PoseFrame, PoseSequence, starts
from tests.reference import poseval
from tests.reference.poseval import LabelledFrame, Person

COUNT = len(JOINTS)
HEAD = (0.0, 0.0, 30.0, 40.0)  # normaliser 30 px: a joint matches up to 15 px


def person(track_id, x=0.0, y=0.0, joints=range(COUNT), score=1.0, head=HEAD):
    """A person whose joints all lie at one place."""
    xy = np.full((COUNT, 2), math.nan)
    xy[list(joints)] = x, y
    return Person(track_id, xy, np.full(COUNT, score), head)


def frame(*people, ignore=(), rects=-1):
    return LabelledFrame(people, tuple(np.array(polygon, float) for polygon in ignore), rects)


def frames(clip):
    """A clip of the oracle as the package's."""
    return tuple(
        PoseFrame(
            name=one.name,
            track_id=np.array([p.track_id for p in one.people], np.int64),
            xy=np.array([p.xy for p in one.people]).reshape(-1, COUNT, 2),
            score=np.array([p.score for p in one.people]).reshape(-1, COUNT),
            head=np.array([p.head or [math.nan] * 4 for p in one.people]).reshape(-1, 4),
            ignore=one.ignore,
            labelled=one.rects > 0,
        )
        for one in clip
    )


def sequence(clip, name="clip"):
    return PoseSequence(name, frames(clip))


def oracle_joints(names):
    return ["neck" if name == "head_bottom" else name for name in names]


def random_clips(rng, length, crowd=4, switch=0.2):
    """Truth and results that miss, invent, switch and tie, some of it in an ignored region."""
    truth, results = [], []
    for _ in range(length):
        people, found = [], []
        for who in rng.permutation(crowd + 2)[: rng.integers(0, crowd + 1)]:
            corner = np.array([40.0 * who, 0.0])
            xy = corner + rng.integers(0, 40, (COUNT, 2))
            xy[rng.random(COUNT) < 0.2] = math.nan
            size = rng.uniform(10, 40, 2)
            people.append(Person(int(who), xy, head=(*corner.tolist(), *(corner + size).tolist())))
            seen = xy + rng.integers(-8, 9, (COUNT, 2))
            seen[rng.random(COUNT) < 0.2] = math.nan
            track = int(rng.integers(0, crowd + 2)) if rng.random() < switch else int(who)
            if rng.random() < 0.85 and track not in [p.track_id for p in found]:
                found.append(Person(track, seen, rng.integers(0, 6, COUNT) / 5))
        if rng.random() < 0.3:
            ghost = rng.uniform(0, 40 * crowd, (COUNT, 2))
            found.append(Person(1000, ghost, rng.integers(0, 6, COUNT) / 5))
        rng.shuffle(found)
        region = [(20, 10), (90, 10), (70, 35), (50, 15), (30, 35)]
        ignore = [region] if rng.random() < 0.3 else []
        pointless = int(rng.random() < 0.2)
        truth.append(frame(*people, ignore=ignore, rects=len(people) + pointless))
        results.append(frame(*found))
    return truth, results


def boxes(rows, name="clip"):
    """A clip of boxes from rows (frame, id, x, y): squares of 10 px."""
    table = np.array(rows, float).reshape(-1, 4)
    return BoxSequence(
        name,
        table[:, 0].astype(np.int64),
        table[:, 1].astype(np.int64),
        np.concatenate([table[:, 2:], table[:, 2:] + 10], axis=1),
        np.ones(len(table)),
    )


def random_boxes(rng, length, crowd=5, switch=0.15):
    """Truth and results that miss, invent and switch; both sides' boxes overlap their own kind."""
    sides = ([], [])
    for number in range(1, length + 1):
        for side, rows in enumerate(sides):
            names = set()
            for who in rng.permutation(crowd)[: rng.integers(0, crowd + 1)].tolist():
                name = int(rng.integers(0, crowd + 3)) if side and rng.random() < switch else who
                if name not in names:
                    x, y = 7 * who + rng.normal(0, 3), rng.normal(0, 3)
                    rows.append((number, name, x, y))
                    names.add(name)
    return boxes(sides[0]), boxes(sides[1])


def random_comparison(rng, length, things=2, crowd=5):
    """Frames of a `Comparison` drawn at random, and the same as plain tuples.

    Each tuple is truth ids, result ids, who has what (M, things) and (N, things), and distances
    (M, N, things), infinite where not both are there or the pair is not near. No distance occurs
    twice.
    """
    frames = []
    for _ in range(length):
        truth_ids = rng.permutation(crowd)[: rng.integers(0, crowd + 1)]
        result_ids = rng.permutation(crowd + 2)[: rng.integers(0, crowd + 3)]
        truth_has = rng.random((len(truth_ids), things)) < 0.8
        result_has = rng.random((len(result_ids), things)) < 0.8
        distance = rng.uniform(0, 0.5, (len(truth_ids), len(result_ids), things))
        own = truth_ids[:, None] == result_ids[None]
        far = rng.random(distance.shape) < np.where(own, 0.2, 0.7)[..., None]
        barred = far | ~(truth_has[:, None] & result_has[None])
        distance[barred] = math.inf
        frames.append((truth_ids, result_ids, truth_has, result_has, distance))
    truth_start = starts([len(f[0]) for f in frames])
    result_start = starts([len(f[1]) for f in frames])
    compared = Comparison(
        truth_start=truth_start,
        result_start=result_start,
        pair_start=pair_starts(truth_start, result_start),
        truth_id=np.concatenate([f[0] for f in frames]),
        result_id=np.concatenate([f[1] for f in frames]),
        truth_has=np.concatenate([f[2] for f in frames]),
        result_has=np.concatenate([f[3] for f in frames]),
        score=np.zeros((int(result_start[-1]), things)),
        distance=np.concatenate([f[4].reshape(-1, things) for f in frames]),
        limit=0.5,
        reach=0.5,
    )
    return compared, frames


def of_thing(frame, thing):
    """A frame of `random_comparison` as far as one thing goes: ids, ids, distances, as lists."""
    truth_ids, result_ids, truth_has, result_has, distance = frame
    rows, columns = np.flatnonzero(truth_has[:, thing]), np.flatnonzero(result_has[:, thing])
    return (
        truth_ids[rows].tolist(),
        result_ids[columns].tolist(),
        distance[np.ix_(rows, columns, [thing])][..., 0],
    )


__all__ = [
    "COUNT", "HEAD", "LabelledFrame", "Person", "boxes", "frame", "frames", "of_thing",
    "oracle_joints", "person", "poseval", "random_boxes", "random_clips", "random_comparison",
    "sequence",
]  # fmt: skip
