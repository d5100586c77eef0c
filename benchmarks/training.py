"""Benchmark `training`: samples a second of the default recipes' networks on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from benchmarks.measure import Effort, take_turns
from benchmarks.records import Record, Skipped

NAME = "training"

_PICTURES, _PEOPLE = 8, 24
_PICTURE_SIZE = (480, 640)
_PAIRS = 4

_PEOPLE_DATA = 'data=[{kind="coco", annotations="person_keypoints.json", pictures="."}]'
_NO_BACKBONE = 'network.backbone=""'  # the speed is that of any weights
_PAIR_DATA = f'data=[{{kind="chairs", count={_PAIRS}, size=[272, 352], scale=0.66}}]'


def measure(effort: Effort) -> Iterator[Record]:
    """Records of each task: making a sample in one process, and a step on a ready batch."""
    try:
        import torch
    except ImportError as error:
        raise Skipped("needs torch: pip install -e '.[export]'") from error
    with TemporaryDirectory() as folder:
        _write_people(Path(folder))
        for name, make in _subjects(Path(folder)).items():
            sample, step, batch, place = make()
            threads = {"threads": torch.get_num_threads()}
            times = take_turns({"sample": sample}, effort)["sample"]
            yield Record(NAME, f"{name}, sample", place, "samples/s", _rates(times, 1))
            times = take_turns({"step": step}, effort)["step"]
            yield Record(NAME, f"{name}, step", place | threads, "samples/s", _rates(times, batch))


_Subject = tuple[Callable[[], object], Callable[[], object], int, dict[str, object]]


def _subjects(folder: Path) -> Mapping[str, Callable[[], _Subject]]:
    """By task what makes its sample, its step, the batch and the parameters."""
    from flowtrack.training.recipe import DetectorRecipe, FlowRecipe, PoseRecipe, read_recipe
    from flowtrack.training.tasks.detector import DetectorTask
    from flowtrack.training.tasks.flow import FlowTask
    from flowtrack.training.tasks.pose import PoseTask

    def pose() -> _Subject:
        recipe = read_recipe(PoseRecipe, "default-pose", [_PEOPLE_DATA, _NO_BACKBONE])
        return _subject(PoseTask(recipe, folder, cache=folder / "decoded", init=None), recipe)

    def detector() -> _Subject:
        recipe = read_recipe(DetectorRecipe, "default-detector", [_PEOPLE_DATA, _NO_BACKBONE])
        return _subject(DetectorTask(recipe, folder, cache=folder / "decoded", init=None), recipe)

    def flow() -> _Subject:
        recipe = read_recipe(FlowRecipe, "default-flow", [_PAIR_DATA])
        return _subject(FlowTask(recipe, folder, init=None), recipe)

    return {"pose": pose, "detector": detector, "flow": flow}


def _subject(task, recipe) -> _Subject:  # type: ignore[no-untyped-def]
    """A task ready to be measured, as the trainer runs it on a CPU."""
    import torch

    from flowtrack.training.data.loader import batches

    numbers = count()
    network = task.network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    batch = next(batches(task.mixture, recipe.schedule.batch, 0, 1))

    def sample() -> object:
        return task.mixture[next(numbers)]

    def step() -> None:
        optimizer.zero_grad()
        task.losses(network, batch)["loss"].backward()
        optimizer.step()

    height, width = recipe.network.input
    network_name = getattr(recipe.network, "trunk", f"FlowNet2S x {recipe.network.width}")
    place = {"input": f"{width}x{height}", "network": network_name,
             "batch": recipe.schedule.batch, "precision": "fp32"}  # fmt: skip
    return sample, step, recipe.schedule.batch, place


def _rates(times_ms: list[float], samples: int) -> list[float]:
    return [samples * 1e3 / ms for ms in times_ms]


def _write_people(folder: Path) -> None:
    """Pictures of nothing, with people all over them."""
    rng = np.random.default_rng(1)
    height, width = _PICTURE_SIZE
    images, annotations = [], []
    for i in range(_PICTURES):
        coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
        cv2.imwrite(str(folder / f"{i}.jpg"), cv2.resize(coarse, (width, height)))
        images.append({"id": i, "file_name": f"{i}.jpg"})
    for i in range(_PEOPLE):
        corner, sides = rng.uniform(0, 240, 2), rng.uniform(60, 240, 2)
        joints = np.column_stack((corner + rng.uniform(0, 1, (17, 2)) * sides, np.full(17, 2.0)))
        annotations.append({
            "image_id": i % _PICTURES, "category_id": 1, "bbox": [*corner, *sides],
            "keypoints": joints.ravel().tolist(),
        })  # fmt: skip
    content = {"images": images, "annotations": annotations}
    (folder / "person_keypoints.json").write_text(json.dumps(content))
