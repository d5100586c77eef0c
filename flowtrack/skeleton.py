"""Skeletons: joint names, flip pairs, OKS sigmas, edges, and conversions between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError, OptionError
from flowtrack.structs import FloatArray, Poses, checked


@dataclass(frozen=True)
class Skeleton:
    """The joints of one annotation standard.

    Attributes:
        name: the name used in manifests and on the command line.
        joints: joint names in the standard's order.
        sigmas: (K,) per-joint constants of the object keypoint similarity.
        edges: pairs of joint indices that are drawn as limbs.
    """

    name: str
    joints: tuple[str, ...]
    sigmas: FloatArray
    edges: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Position of a joint by name.

        Raises:
            InputError: the skeleton has no such joint.
        """
        if joint not in self.joints:
            raise InputError(f"{self.name} has no joint {joint!r}; it has {', '.join(self.joints)}")
        return self.joints.index(joint)

    @cached_property
    def flip_order(self) -> npt.NDArray[np.int64]:
        """(K,) for each joint the index of its mirror partner (itself if it has none)."""
        partner = {"left": "right", "right": "left"}

        def mirrored(joint: str) -> str:
            side, _, rest = joint.partition("_")
            return f"{partner[side]}_{rest}" if side in partner else joint

        return np.array([self.joints.index(mirrored(joint)) for joint in self.joints], np.int64)

    @cached_property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs (a, b), a < b, of joints that swap when the picture is mirrored."""
        return tuple((a, int(b)) for a, b in enumerate(self.flip_order) if a < b)


def _skeleton(
    name: str, joints: str, sigmas: dict[str, float], edges: tuple[tuple[str, str], ...]
) -> Skeleton:
    names = tuple(joints.split())

    def sigma(joint: str) -> float:
        side, _, rest = joint.partition("_")
        return sigmas[rest] if side in ("left", "right") else sigmas[joint]

    return Skeleton(
        name=name,
        joints=names,
        sigmas=np.array([sigma(joint) for joint in names], np.float32),
        edges=tuple((names.index(a), names.index(b)) for a, b in edges),
    )


# Sigmas of COCO (cocodataset/cocoapi, cocoeval.py). COCO has none for the two head points of
# PoseTrack, and codes differ; 0.079, the shoulder's, is CorrTrack's choice.
_COCO_SIGMAS = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062,
    "hip": 0.107, "knee": 0.087, "ankle": 0.089, "head_bottom": 0.079, "head_top": 0.079,
}  # fmt: skip

_LIMBS: tuple[tuple[str, str], ...] = (
    ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
    ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
    ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
    ("left_hip", "right_hip"), ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"),
)  # fmt: skip

_POSETRACK_HEAD = (
    ("head_bottom", "left_shoulder"), ("head_bottom", "right_shoulder"),
    ("head_bottom", "nose"), ("nose", "head_top"),
)  # fmt: skip

COCO_17 = _skeleton(
    "coco-17",
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow"
    " left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle",
    _COCO_SIGMAS,
    (*_LIMBS, ("left_shoulder", "right_shoulder"), ("nose", "left_eye"), ("nose", "right_eye"),
     ("left_eye", "left_ear"), ("right_eye", "right_ear")),
)  # fmt: skip
"""COCO keypoints, 17 joints."""

POSETRACK17_15 = _skeleton(
    "posetrack17-15",
    "right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow"
    " right_shoulder left_shoulder left_elbow left_wrist head_bottom nose head_top",
    _COCO_SIGMAS,
    (*_LIMBS, *_POSETRACK_HEAD),
)
"""PoseTrack 2017, 15 joints in the order of its ids."""

POSETRACK18_17 = _skeleton(
    "posetrack18-17",
    "nose head_bottom head_top left_ear right_ear left_shoulder right_shoulder left_elbow"
    " right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle"
    " right_ankle",
    _COCO_SIGMAS,
    (*_LIMBS, *_POSETRACK_HEAD),
)
"""PoseTrack 2018, 17 slots; the two ears are never labelled."""

# Sigmas of the AI Challenger evaluation (AIChallenger/AI_Challenger_2017), per joint and side.
AIC_14 = Skeleton(
    name="aic-14",
    joints=(
        "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
        "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
        "head_top", "neck",
    ),
    sigmas=np.array(
        [0.01388152, 0.01515228, 0.01057665, 0.01417709, 0.01497891, 0.01402144, 0.03909642,
         0.03686941, 0.01981803, 0.03843971, 0.03412318, 0.02415081, 0.01291456, 0.01236173],
        np.float32,
    ),
    edges=((13, 12), (13, 0), (13, 3), (0, 1), (1, 2), (3, 4), (4, 5), (0, 6), (3, 9), (6, 9),
           (6, 7), (7, 8), (9, 10), (10, 11)),
)  # fmt: skip
"""AI Challenger keypoints, 14 joints."""

SKELETONS = MappingProxyType(
    {skeleton.name: skeleton for skeleton in (COCO_17, POSETRACK17_15, POSETRACK18_17, AIC_14)}
)
"""Every known skeleton by name."""


def skeleton_named(name: str) -> Skeleton:
    """The skeleton called `name`.

    Raises:
        OptionError: no skeleton has that name.
    """
    if name not in SKELETONS:
        raise OptionError(f"unknown skeleton {name!r}; known are {', '.join(SKELETONS)}")
    return SKELETONS[name]


# One joint under two names.
_ALIASES = {"neck": "head_bottom"}

# How a joint that the source lacks follows from joints that it has: weights that sum to one.
# The usual rules for COCO-trained networks on PoseTrack (e.g. in MMPose's data converters).
_DERIVED = {
    "head_bottom": {"left_shoulder": 0.5, "right_shoulder": 0.5},
    "head_top": {"nose": 2.0, "left_shoulder": -0.5, "right_shoulder": -0.5},
}


def conversion_weights(source: Skeleton, target: Skeleton) -> FloatArray:
    """(K_target, K_source) weights with target joints = weights @ source joints.

    A row of zeros marks a joint that cannot be had from the source.
    """
    column = {_ALIASES.get(joint, joint): i for i, joint in enumerate(source.joints)}
    weights = np.zeros((len(target), len(source)), np.float32)
    for row, joint in enumerate(target.joints):
        canonical = _ALIASES.get(joint, joint)
        terms = {canonical: 1.0} if canonical in column else _DERIVED.get(canonical, {})
        if terms and all(term in column for term in terms):
            for term, weight in terms.items():
                weights[row, column[term]] = weight
    return weights


def convert_joints(
    xy: npt.ArrayLike, score: npt.ArrayLike, source: Skeleton, target: Skeleton
) -> tuple[FloatArray, FloatArray]:
    """Joints of one skeleton expressed in another.

    A derived joint takes the lowest score of the joints that it follows from, and is missing where
    one of them is; a joint that cannot be had is missing with score 0. Neck = midpoint of the
    shoulders, head top = 2 nose - midpoint of the shoulders.

    Args:
        xy: (N, K_source, 2) pixels; not finite where missing.
        score: (N, K_source).

    Returns:
        (N, K_target, 2) and (N, K_target), float32.
    """
    points = checked("xy", xy, ("N", len(source), 2), np.float32)
    confidence = checked("score", score, (len(points), len(source)), np.float32)
    weights = conversion_weights(source, target)
    out_xy = np.full((len(points), len(target), 2), np.nan, np.float32)
    out_score = np.zeros((len(points), len(target)), np.float32)
    for row in range(len(target)):
        used = np.flatnonzero(weights[row])
        if used.size:
            # Only the joints used enter the sum, so that a missing one elsewhere does no harm.
            out_xy[:, row] = np.einsum("j,njc->nc", weights[row, used], points[:, used])
            out_score[:, row] = confidence[:, used].min(axis=1)
    return out_xy, out_score


def convert_poses(poses: Poses, source: Skeleton, target: Skeleton) -> Poses:
    """`convert_joints` applied to the joints of `poses`; boxes stay as they are."""
    xy, score = convert_joints(poses.xy, poses.score, source, target)
    return Poses(xy, score, poses.box, poses.box_score)
