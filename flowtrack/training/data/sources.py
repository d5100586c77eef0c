"""The data sets that a recipe names."""

from __future__ import annotations

from collections.abc import Container, Sequence
from itertools import count
from pathlib import Path
from types import MappingProxyType

import numpy as np

from flowtrack.errors import SourceError
from flowtrack.skeleton import Skeleton, convert_joints
from flowtrack.training.data.people import People, read_coco, read_posetrack17, read_posetrack18
from flowtrack.training.recipe import Source

_READERS = MappingProxyType(
    {"coco": read_coco, "posetrack17": read_posetrack17, "posetrack18": read_posetrack18}
)


def source_name(source: Source) -> str:
    """A short name for reports: the folder of the annotations."""
    parts = Path(source.annotations).parts
    return parts[-2] if len(parts) > 1 else source.kind


def people_of(source: Source, data: Path, skeleton: Skeleton) -> People:
    """Annotated people of a recipe's data set, in the skeleton that is to be learnt.

    Args:
        source: where they are.
        data: folder that the recipe's paths are relative to.
        skeleton: to convert the joints to.

    Raises:
        SourceError: a file is missing or has another layout.
    """
    people = _READERS[source.kind](data / source.annotations, data / source.pictures)
    return converted(people, skeleton)


def split_people(
    sources: Sequence[Source], validation: Sequence[Source], data: Path, skeleton: Skeleton
) -> tuple[list[People], dict[str, People]]:
    """The people of each source to train on, and by name those to validate on.

    Args:
        sources: of training; a part of each may be held out.
        validation: for validation alone.
        data: folder that the paths are relative to.
        skeleton: to convert the joints to.

    Raises:
        SourceError: a file is missing or has another layout, or a source no pictures to train on.
    """
    train: list[People] = []
    aside: dict[str, People] = {}
    for source in sources:
        ours, held_out = people_of(source, data, skeleton).split(source.held_out)
        if not ours.paths:
            raise SourceError(
                f"{data / source.annotations} names no pictures to train on; expected more than "
                f"the share of {source.held_out} that is held out"
            )
        train.append(ours)
        if held_out.paths:
            aside[free_name(source_name(source), aside)] = held_out
    for source in validation:
        aside[free_name(source_name(source), aside)] = people_of(source, data, skeleton)
    return train, aside


def free_name(name: str, taken: Container[str]) -> str:
    """A source's name, numbered from its second use on."""
    numbered = (name if i == 1 else f"{name}_{i}" for i in count(1))
    return next(free for free in numbered if free not in taken)


def converted(people: People, skeleton: Skeleton) -> People:
    """People with their joints in another skeleton; joints that it cannot tell are not labelled."""
    if people.skeleton.name == skeleton.name:
        return people
    xy = np.where(people.joints[:, :, 2:] > 0, people.joints[:, :, :2], np.nan)
    moved, visibility = convert_joints(xy, people.joints[:, :, 2], people.skeleton, skeleton)
    known = np.isfinite(moved).all(2) & (visibility > 0)
    joints = np.concatenate((moved, visibility[:, :, None]), 2)
    joints[~known] = 0
    return People(
        skeleton, people.paths, people.picture, people.boxes,
        joints.astype(np.float32), people.crowd,
    )  # fmt: skip
