"""Recipes: those that come along, variants, changes, and what is refused."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flowtrack.errors import OptionError
from flowtrack.training.recipe import (
    DetectorRecipe,
    FlowRecipe,
    PoseRecipe,
    Schedule,
    Source,
    builtin_recipes,
    read_recipe,
    recipe_text,
)

KINDS = {"pose": PoseRecipe, "detector": DetectorRecipe, "flow": FlowRecipe}


def every_recipe():
    for name in builtin_recipes():
        yield name
        yield from (
            f"{name}:{variant}" for variant in tomllib.loads(recipe_text(name)).get("variants", ())
        )


def read(name, *changes):
    return read_recipe(
        KINDS[tomllib.loads(recipe_text(name.partition(":")[0]))["task"]], name, changes
    )


def network_of(recipe):
    """The recipe's network, without memory for its weights."""
    from flowtrack.training.models import FlowNet2S
    from flowtrack.training.tasks import detector, pose

    if not isinstance(recipe, FlowRecipe):  # the file of a trunk's weights is not there
        recipe = replace(recipe, network=replace(recipe.network, backbone=""))
    with torch.device("meta"):
        if isinstance(recipe, PoseRecipe):
            return pose._network(recipe, 17, Path(), None)
        if isinstance(recipe, DetectorRecipe):
            return detector._network(recipe, Path(), None)
        return FlowNet2S(recipe.network.width)


@pytest.mark.parametrize("name", list(every_recipe()))
def test_every_recipe_can_be_read_and_built(name):
    recipe = read(name)
    assert recipe.task in name
    assert recipe.data
    assert sum(p.numel() for p in network_of(recipe).parameters()) > 1e5
    milestones = recipe.schedule.milestones
    if milestones and not recipe.schedule.samples:
        assert milestones[-1] < recipe.schedule.epochs


def test_the_recipes_of_the_paper():
    schedule = Schedule(
        epochs=140, batch=128, optimizer="adam", learning_rate=1e-3, milestones=(90, 120),
        factor=0.1, validations=14,
    )  # fmt: skip
    coco = read("coco-pose")
    assert coco.schedule == schedule
    augment = coco.augment
    assert (augment.scale, augment.rotation, augment.rotated, augment.flip) == (0.3, 40, 0.6, 0.5)
    assert (augment.shift, augment.half_body, augment.cover) == (0, 0, 0)
    tuned = read("posetrack-pose")
    assert tuned.schedule.learning_rate == 1e-4
    assert (tuned.schedule.milestones, tuned.schedule.epochs) == ((10, 15), 20)
    assert tuned.network.skeleton == "posetrack17-15"
    assert [source.kind for source in read("posetrack-pose:17").data] == ["posetrack17"]


TABLE_2 = {
    "a": (50, 3, 4, (256, 192), 2),
    "b": (50, 2, 4, (256, 192), 2),
    "c": (50, 3, 2, (256, 192), 2),
    "d": (50, 3, 3, (256, 192), 2),
    "e": (101, 3, 4, (256, 192), 2),
    "f": (152, 3, 4, (256, 192), 2),
    "g": (50, 3, 4, (128, 96), 2),
    "h": (50, 3, 4, (384, 288), 3),
}
"""Depth, deconvolutions, kernel, input, sigma of the paper's table 2."""


@pytest.mark.parametrize("variant", TABLE_2)
def test_variants_are_the_rows_of_table_2(variant):
    network = read(f"coco-pose:{variant}").network
    assert TABLE_2[variant] == (
        network.depth, len(network.deconv_channels), network.deconv_kernel, network.input,
        network.sigma,
    )  # fmt: skip
    assert set(network.deconv_channels) == {256}
    assert network.backbone == f"resnet{network.depth}.pth"


def test_entries_can_be_changed():
    recipe = read(
        "coco-pose:g",
        "schedule.batch=64",
        "schedule.decay=cosine",
        "network.input=[64, 32]",
        "augment.looks.grey=0.5",
        "data=[{kind='coco', annotations='a.json', pictures='b', share=2}]",
        "seed=7",
    )
    assert (recipe.schedule.batch, recipe.schedule.decay, recipe.seed) == (64, "cosine", 7)
    assert recipe.network.input == (64, 32)
    assert recipe.augment.looks.grey == 0.5
    assert recipe.data == (Source("coco", "a.json", "b", share=2),)
    assert recipe.schedule.learning_rate == 1e-3


def test_later_changes_win():
    assert read("coco-pose", "seed=1", "seed=2").seed == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("schedule.batch", "no change of a recipe"),
        ("=3", "no change of a recipe"),
        ("schedule.batches=3", r"unknown entries \['batches'\]"),
        ("shedule.batch=3", r"unknown entries \['shedule'\]"),
        ("schedule.batch=many", "expected a whole number"),
        ("schedule.batch=", "expected a whole number"),
        ("schedule.batch=0", "schedule.batch is 0"),
        ("schedule.accumulate=0", "accumulate is 0"),
        ("schedule.accumulate=-1", "accumulate is -1"),
        ("schedule.accumulate=3", "accumulate is 3, expected a divisor of the batch 128"),
        ("schedule.milestones=[120, 90]", "expected rising epochs"),
        ("schedule.average=1", "schedule.average is 1"),
        ("schedule.optimizer=lamb", "expected one of"),
        ("schedule=3", "expected an object"),
        ("network.depth=20", "expected one of"),
        ("network.input=[250, 192]", "multiples of 32"),
        ("network.input=[0, 0]", "multiples of 32"),
        ("network.input=[256]", "expected 2"),
        ("network.skeleton=cat", "unknown skeleton 'cat'"),
        ("network.sigma=0", "network.sigma is 0"),
        ("augment.flip=2", "augment.flip is 2"),
        ("augment.looks.grey=-1", "looks.grey is -1"),
        ("seed=-1", "seed is -1"),
        ("seed=true", "expected a whole number"),
        ("data=[]", "at least 1"),
        ("data=[{kind='coco'}]", "annotations is missing"),
        ("data=[{kind='mpii', annotations='a', pictures='b'}]", "expected one of"),
        ("data=[{kind='coco', annotations='a', pictures='b', share=0}]", r"data\[0\].share is 0"),
        (
            "validation=[{kind='coco', annotations='a', pictures='b', held_out=1}]",
            r"validation\[0\].held_out is 1",
        ),
    ],
)
def test_wrong_changes_are_refused(change, told):
    with pytest.raises(OptionError, match=told):
        read_recipe(PoseRecipe, "coco-pose", [change])


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        (PoseRecipe, "coco", r"no recipe 'coco'; .* coco-detector, coco-pose"),
        (PoseRecipe, "missing.toml", r"no recipe 'missing.toml'"),
        (PoseRecipe, "coco-pose:z", "no variant 'z'; it has a, b, c"),
        (PoseRecipe, "posetrack-pose:a", "no variant .a.; it has 17"),
        (PoseRecipe, "coco-detector", "trains a detector network, expected one for pose"),
        (DetectorRecipe, "coco-pose:b", "trains a pose network, expected one for detector"),
    ],
)
def test_recipes_that_are_not_there_or_for_another_task(kind, name, told):
    with pytest.raises(OptionError, match=told):
        read_recipe(kind, name)


SOURCE = "[[data]]\nkind = 'coco'\nannotations = 'a.json'\npictures = 'b'\n"


def test_a_recipe_of_ones_own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(f"{SOURCE}[variants.wide]\nnetwork = {{ width = 2 }}\n")
    assert read_recipe(PoseRecipe, str(path)).network.width == 1
    assert read_recipe(PoseRecipe, f"{path}:wide").network.width == 2
    assert recipe_text(str(path)) == path.read_text()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"network = ", "Invalid value"),
        (b"\xff", "utf-8"),
        (SOURCE.encode() + b"[variants]\na = 3", "no table of tables"),
        (b"variants = 3\n" + SOURCE.encode(), "no table of tables"),
        (b"", "data is missing"),
    ],
)
def test_damaged_recipes_are_refused(tmp_path, content, told):
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    with pytest.raises(OptionError, match=told) as refused:
        read_recipe(PoseRecipe, str(path))
    assert str(path) in str(refused.value)
