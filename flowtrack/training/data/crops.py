"""Crops around people with their joints: what the pose network learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flowtrack.schema import limits
from flowtrack.structs import ByteArray, FloatArray
from flowtrack.training.data.augment import Looks, crop_matrix, vary_looks, warp
from flowtrack.training.data.people import JOINT_BOX, People
from flowtrack.training.data.pictures import PictureStore

PADDING = 1.25
"""A crop is wider than its box by this (lib/dataset/coco.py of the official code)."""

_JOINT_BOX_JOINTS = 6  # fewer say little about where a person is
_LOWER_BODY = ("hip", "knee", "ankle")
_HALF_BODY_JOINTS = 8  # so many labelled joints make a half of them worth a crop (MMPose)
_HALF_BODY_BOX = 1.5  # extent of the half's joints, longer by 50% (the same)
_LEAST_COVER, _MOST_COVER = 0.15, 0.5  # side of a covering patch, of the crop's sides


@dataclass(frozen=True)
class CropOptions:
    """Augmentation of crops; the defaults are the paper's (section 4.1).

    Attributes:
        scale: standard deviation of the scale's factor 1 + scale N(0, 1), clipped to +- scale.
        rotation: standard deviation in degrees, clipped at twice that.
        rotated: probability of a rotation.
        flip: probability of a mirrored crop.
        shift: largest shift of the centre, as a share of the box's sides.
        joint_box: probability of a crop around the extent of the labelled joints, longer by 15%, as
            the tracker takes it from joints that the flow has moved, in the place of the box.
        half_body: probability of a crop around the upper or the lower body only.
        cover: probability of a patch of any picture of the data set over part of the crop; the
            joints below it stay labelled.
        looks: colours and sharpness.
    """

    scale: float = field(default=0.3, metadata=limits(minimum=0, maximum=0.9))
    rotation: float = field(default=40.0, metadata=limits(minimum=0, maximum=180))
    rotated: float = field(default=0.6, metadata=limits(minimum=0, maximum=1))
    flip: float = field(default=0.5, metadata=limits(minimum=0, maximum=1))
    shift: float = field(default=0.0, metadata=limits(minimum=0, maximum=1))
    joint_box: float = field(default=0.0, metadata=limits(minimum=0, maximum=1))
    half_body: float = field(default=0.0, metadata=limits(minimum=0, maximum=1))
    cover: float = field(default=0.0, metadata=limits(minimum=0, maximum=1))
    looks: Looks = field(default_factory=Looks)


PLAIN = CropOptions(scale=0, rotation=0, rotated=0, flip=0)
"""No augmentation: what the runtime sees."""


class PersonCrops:
    """One crop a person.

    Attributes:
        people: as given.
        size: height and width of a crop in pixels.
    """

    def __init__(
        self,
        people: People,
        pictures: PictureStore,
        size: tuple[int, int],
        options: CropOptions = PLAIN,
        *,
        hidden_weight: float = 1.0,
        absent_weight: float = 0.0,
    ) -> None:
        """Crops of annotated people.

        Args:
            people: with joints.
            pictures: of `people.paths`.
            size: height and width of a crop in pixels.
            options: augmentation.
            hidden_weight: weight of joints that are labelled but hidden (v = 1).
            absent_weight: weight of joints that are not labelled (v = 0), to be found nowhere.
        """
        self.people = people
        self.size = size
        self._pictures = pictures
        self._options = options
        self._hidden_weight = hidden_weight
        self._absent_weight = absent_weight
        names = people.skeleton.joints
        self._lower = np.array([name.split("_")[-1] in _LOWER_BODY for name in names])
        self._flip_order = people.skeleton.flip_order

    def __len__(self) -> int:
        return len(self.people)

    def sample(self, index: int, rng: np.random.Generator) -> Mapping[str, Any]:
        """One augmented crop.

        Returns:
            `crop` (H, W, 3) uint8 BGR, `joints` (K, 2) float32 in crop pixels, `weight` (K,)
            float32: 0 for joints that are not labelled or lie outside the crop; `absent` (K,)
            float32: the weight of joints that are to be found nowhere; `area` float32, the box's
            area in crop pixels.
        """
        options, people = self._options, self.people
        joints = people.joints[index]
        centre, width = self._region(people.boxes[index], joints, rng)
        factor = np.clip(options.scale * rng.standard_normal(), -options.scale, options.scale)
        width *= 1 + float(factor)
        limit = 2 * options.rotation
        rotation = float(np.clip(options.rotation * rng.standard_normal(), -limit, limit))
        rotation *= rng.uniform() < options.rotated
        flip = bool(rng.uniform() < options.flip)
        matrix = crop_matrix(centre, width, self.size, rotation=rotation, flip=flip)
        crop = warp(self._pictures[int(people.picture[index])], matrix, self.size)
        xy = joints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        weight = self._weight(joints[:, 2], xy)
        absent = np.where(joints[:, 2] > 0, 0.0, self._absent_weight).astype(np.float32)
        if flip:
            xy, weight, absent = (values[self._flip_order] for values in (xy, weight, absent))
        if rng.uniform() < options.cover:
            crop = self._covered(crop, rng)
        box = people.boxes[index]
        scale = self.size[1] / width
        return {
            "crop": vary_looks(crop, options.looks, rng),
            "joints": np.ascontiguousarray(xy, np.float32),
            "weight": weight,
            "absent": absent,
            "area": np.float32((box[2] - box[0]) * (box[3] - box[1]) * scale * scale),
        }

    def _region(
        self, box: FloatArray, joints: FloatArray, rng: np.random.Generator
    ) -> tuple[tuple[float, float], float]:
        """Centre and width of the crop in the picture, before scale and rotation."""
        low, high, padding = box[:2], box[2:], PADDING
        labelled = joints[:, 2] > 0
        if rng.uniform() < self._options.joint_box and labelled.sum() >= _JOINT_BOX_JOINTS:
            low, high = joints[labelled, :2].min(0), joints[labelled, :2].max(0)
            padding *= JOINT_BOX
        if rng.uniform() < self._options.half_body and labelled.sum() >= _HALF_BODY_JOINTS:
            half = labelled & (self._lower if rng.uniform() < 0.4 else ~self._lower)
            if half.sum() >= 3:
                low, high = joints[half, :2].min(0), joints[half, :2].max(0)
                padding = _HALF_BODY_BOX
        extent = np.maximum(high - low, 1.0)
        centre = (low + high) / 2 + extent * rng.uniform(-1, 1, 2) * self._options.shift
        height_px, width_px = self.size
        width = max(float(extent[0]), float(extent[1]) * width_px / height_px) * padding
        return (float(centre[0]), float(centre[1])), width

    def _weight(self, visibility: FloatArray, xy: FloatArray) -> FloatArray:
        height, width = self.size
        inside = ((xy >= 0) & (xy < (width, height))).all(1)
        weight = np.where(visibility >= 2, 1.0, np.where(visibility > 0, self._hidden_weight, 0.0))
        return np.where(inside, weight, 0.0).astype(np.float32)

    def _covered(self, crop: ByteArray, rng: np.random.Generator) -> ByteArray:
        """The crop with a patch of some picture over a part of it."""
        other = self._pictures[int(rng.integers(len(self._pictures)))]
        share = rng.uniform(_LEAST_COVER, _MOST_COVER, 2)
        height = min(round(self.size[0] * share[0]), other.shape[0])
        width = min(round(self.size[1] * share[1]), other.shape[1])
        corner = rng.uniform(0, 1, 4)
        top = int(corner[0] * (self.size[0] - height))
        left = int(corner[1] * (self.size[1] - width))
        from_y = int(corner[2] * (other.shape[0] - height))
        from_x = int(corner[3] * (other.shape[1] - width))
        covered = crop.copy()
        patch = other[from_y : from_y + height, from_x : from_x + width]
        covered[top : top + height, left : left + width] = patch
        return covered
