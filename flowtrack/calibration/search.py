"""Looking for the tracker's best setting: two thresholds together, then one option at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType
from typing import Any

from flowtrack.errors import InputError
from flowtrack.tracker.options import TrackerOptions

Values = Mapping[str, tuple[Any, ...]]

GRID: Values = MappingProxyType(
    {
        "box_threshold": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
        "joint_threshold": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    }
)
"""What is tried together: what one threshold lets through the other may drop."""

STEPS: Values = MappingProxyType(
    {
        "nms_iou": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        "min_similarity": (0.02, 0.05, 0.1, 0.2, 0.3, 0.4),
        "pose_nms": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, None),
        "queue": (1, 2, 3, 5, 7, 10, 15),
        "box_threshold": tuple(step / 20 for step in range(1, 17)),
        "start_threshold": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, None),
        "start_joints": (1, 2, 3, 4, 6, 8),
        "joint_threshold": tuple(step / 20 for step in range(2, 15)),
    }
)
"""What is tried one option after the other, each with values in order."""


@dataclass(frozen=True)
class Search:
    """What was found.

    Attributes:
        choice: the best setting of all that were tried; of equal ones the one found first.
        values: of the objective for every setting that was tried, in order.
    """

    choice: TrackerOptions
    values: Mapping[TrackerOptions, float]


def search(
    objective: Callable[[TrackerOptions], float],
    start: TrackerOptions,
    grid: Values = GRID,
    steps: Values = STEPS,
) -> Search:
    """The setting with the highest objective: a grid first, then coordinate descent to its end.

    A value takes the place of another only if it is better, so the start stays where nothing
    matters. Around the choice every value of `steps` has been tried at the end.

    Args:
        objective: called once for each setting.
        start: where to begin; options that are not searched keep its values.
        grid: values that are tried in all combinations.
        steps: values that are tried one option at a time, until a whole round changes nothing.

    Raises:
        InputError: the objective has no value.
    """
    values: dict[TrackerOptions, float] = {}

    def value(options: TrackerOptions) -> float:
        if options not in values:
            values[options] = objective(options)
            if math.isnan(values[options]):
                raise InputError(
                    "the data give the objective no value: the truth has no joints to find among "
                    "those that are reported"
                )
        return values[options]

    best = start
    for options in (start, *_combinations(start, grid)):
        best = max(best, options, key=value)
    while True:
        before = best
        for name in steps:
            for options in around(best, name, steps):
                best = max(best, options, key=value)
        if best == before:
            return Search(best, MappingProxyType(values))


def _combinations(start: TrackerOptions, grid: Values) -> Iterator[TrackerOptions]:
    for combination in product(*grid.values()):
        yield replace(start, **dict(zip(grid, combination, strict=True)))


def around(options: TrackerOptions, name: str, steps: Values = STEPS) -> list[TrackerOptions]:
    """Settings that differ from `options` in one option at most, in the order of its values.

    There are none for an option that this similarity does not look at, and of the start threshold
    those are left out that the box threshold makes idle.
    """
    if name == "queue" and options.similarity == "flow":
        return []
    own = value_of(options, name)
    values = list(steps[name])
    if name == "start_threshold":
        values = [value for value in values if value is None or value > options.box_threshold]
    if own not in values:
        values.append(own)
        values.sort(key=lambda value: (value is None, value))
    return [
        options if value == own else replace(options, **{name: value}) for value in values
    ]  # fmt: skip


def value_of(options: TrackerOptions, name: str) -> Any:
    """The value of an option; of the queue, which may be left to the similarity, its length."""
    return options.length if name == "queue" else getattr(options, name)
