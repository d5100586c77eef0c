"""Tiny clips for the tests of evaluation, as the package and as the oracle have them."""

from __future__ import annotations

import math

import numpy as np

from flowtrack.evaluation.sequences import JOINTS, PoseFrame, PoseSequence
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


__all__ = [
    "COUNT", "HEAD", "LabelledFrame", "Person", "frame", "frames", "oracle_joints", "person",
    "poseval", "random_clips", "sequence",
]  # fmt: skip
