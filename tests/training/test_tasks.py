"""Pose and detector trainings: one batch is learnt by heart, and figures mean what they say."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from flowtrack.errors import CheckpointError, SourceError
from flowtrack.evaluation.detection import average_precision
from flowtrack.export.graphs import DetectorGraph, KeypointDecoder, PeakDecoder, PoseGraph
from flowtrack.export.onnx_export import export_pose
from flowtrack.runtime.engines import open_engine
from flowtrack.skeleton import COCO_17
from flowtrack.training.checkpoint_file import read_checkpoint, write_checkpoint
from flowtrack.training.checkpoints import load_detector, load_pose, save_detector, save_pose
from flowtrack.training.data.loader import stack
from flowtrack.training.models import CenterDetector, CenterMaps, Normalization, PoseResNet
from flowtrack.training.recipe import DetectorRecipe, PoseRecipe, read_recipe
from flowtrack.training.targets import joint_heatmaps
from flowtrack.training.tasks.detector import DetectorTask, peaks
from flowtrack.training.tasks.pose import PoseTask, _decoded
from flowtrack.training.trainer import Trainer, TrainerOptions
from tests.training.datasets import (
    DETECTOR_RECIPE,
    POSE_RECIPE,
    boxes_to_learn,
    noise,
    person,
    poses_to_learn,
    write_coco,
)

FAST = ("schedule.learning_rate=3e-3", "schedule.decay=cosine", "schedule.warmup=0.05")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with four poses and four pictures of people; the joints of the poses."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "pose.toml").write_text(POSE_RECIPE)
    (folder / "detector.toml").write_text(DETECTOR_RECIPE)
    boxes_to_learn(folder)
    return folder, poses_to_learn(folder)


def pose_task(folder, *changes, init=None, cache=None):
    recipe = read_recipe(PoseRecipe, str(folder / "pose.toml"), changes)
    return PoseTask(recipe, folder, cache=cache, init=init), recipe.schedule


def detector_task(folder, *changes, init=None, cache=None):
    recipe = read_recipe(DetectorRecipe, str(folder / "detector.toml"), changes)
    return DetectorTask(recipe, folder, cache=cache, init=init), recipe.schedule


def learnt(task, schedule, out):
    """The first and the last logged loss, and the last figures, of a training."""
    losses = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flowtrack.training.trainer._LOGGED_EVERY_S", -1.0)
        trainer = Trainer(task, schedule, TrainerOptions(out, device="cpu", workers=0))
        figures = trainer.run(lambda p: p.validation or losses.append(p.figures["loss"]))
    return losses[0], losses[-1], figures


@pytest.fixture(scope="module")
def learnt_pose(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("pose")
    task, schedule = pose_task(data[0], "schedule.samples=420", *FAST, cache=out / "kept")
    return out, learnt(task, schedule, out)


@pytest.fixture(scope="module")
def learnt_detector(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("detector")
    task, schedule = detector_task(data[0], "schedule.samples=420", *FAST, cache=out / "kept")
    return out, learnt(task, schedule, out)


def pictures(folder, name):
    """(N, 64, 64, 3) uint8 RGB of a data set of one batch."""
    from flowtrack.training.data.people import read_coco
    from flowtrack.training.data.pictures import PictureStore

    people = read_coco(folder / name / "person_keypoints.json", folder / name / "images")
    store = PictureStore(people.paths)
    return np.stack([store[i][..., ::-1] for i in range(len(store))]), people


def test_a_batch_of_poses_is_learnt_by_heart(data, learnt_pose):
    folder, joints = data
    out, (first, last, figures) = learnt_pose
    assert last < 0.03 * first
    assert figures["pck"] == 1
    assert figures["ar"] == figures["ar_poses"] >= 0.9
    loaded = load_pose(out / "best.pt")
    assert (loaded.skeleton, loaded.color) == ("coco-17", "rgb")
    crops = torch.from_numpy(pictures(folder, "poses")[0])
    with torch.no_grad():
        found = PoseGraph(loaded.network, COCO_17, 64, 64)(crops).numpy()
    # A joint lies on a cell, and decoding moves it by a quarter of one: 1 px.
    assert np.abs(found[..., :2] - joints).max() <= 1
    assert (found[..., 2] > 0.5).all()


def test_heatmaps_of_absent_joints_are_to_be_empty(data):
    """Three joints in the same place: seen, not labelled, known to be nowhere."""
    task, _ = pose_task(data[0])
    maps = torch.full((1, 17, 16, 16), 0.5)
    weight, absent = torch.zeros(1, 17), torch.zeros(1, 17)
    weight[0, 0], absent[0, 2] = 1, 0.5
    batch = {
        "crop": torch.zeros(1, 64, 64, 3, dtype=torch.uint8),
        "joints": torch.full((1, 17, 2), 32.0), "weight": weight, "absent": absent,
    }  # fmt: skip
    loss = task.losses(lambda _: maps, batch)["loss"].item()
    target, _ = joint_heatmaps(batch["joints"], weight, (16, 16), 4, task._sigma)
    seen = (0.5 - target[0, 0]).square().sum().item()
    nowhere = 16 * 16 * (0.5 * 0.5) ** 2
    assert loss == pytest.approx(0.5 * (seen + nowhere) / (17 * 16 * 16), rel=1e-5)


def test_a_trained_pose_network_can_be_exported(data, learnt_pose, tmp_path):
    folder, joints = data
    network = load_pose(learnt_pose[0] / "final.pt").network
    exported = export_pose(network, tmp_path / "pose.onnx", skeleton=COCO_17, height=64, width=64)
    assert exported.parity["max_px"] <= 1e-3
    engine = open_engine(tmp_path / "pose.onnx", device="cpu")
    found = engine.infer({"crops": pictures(folder, "poses")[0]})["keypoints"]
    assert np.abs(found[..., :2] - joints).max() <= 1


def test_a_batch_of_people_is_found_by_heart(data, learnt_detector):
    folder, _ = data
    out, (first, last, figures) = learnt_detector
    assert last < 0.03 * first
    assert figures == {"ap50": 1, "ap50_boxes": 1}
    network = load_detector(out / "best.pt").network
    views, people = pictures(folder, "boxes")
    with torch.no_grad():
        boxes, scores = DetectorGraph(network, 64, 64)(torch.from_numpy(views))
    for number in range(len(views)):
        there = people.boxes[people.picture == number]
        found = boxes[number, : len(there)].numpy()
        assert (scores[number, : len(there)] > 0.5).all()
        assert (scores[number, len(there) :] < 0.3).all()
        assert np.abs(found[:, None] - there[None]).max(2).min(1).max() < 3


def test_a_detector_starts_from_a_pose_network(data, learnt_pose):
    task, _ = detector_task(data[0], init=learnt_pose[0] / "final.pt")
    ours, pose = task.network.state_dict(), read_checkpoint(learnt_pose[0] / "final.pt").state
    fresh = detector_task(data[0])[0].network.state_dict()
    taken = [name for name in ours if name in pose and torch.equal(ours[name], pose[name])]
    assert {name.partition(".")[0] for name in taken} >= {"conv1", "layer4", "deconv_layers"}
    assert torch.equal(ours["hm.0.weight"], fresh["hm.0.weight"])


def test_a_training_goes_on_from_its_result(data, learnt_pose, learnt_detector):
    for made, out in ((pose_task, learnt_pose[0]), (detector_task, learnt_detector[0])):
        task, _ = made(data[0], init=out / "final.pt")
        stored = read_checkpoint(out / "final.pt").state
        assert all(torch.equal(v, stored[k]) for k, v in task.network.state_dict().items())


def test_another_number_of_joints_starts_with_a_fresh_last_layer(data, learnt_pose):
    task, _ = pose_task(
        data[0], "network.skeleton=posetrack17-15", init=learnt_pose[0] / "final.pt"
    )
    stored = read_checkpoint(learnt_pose[0] / "final.pt").state
    assert task.network.state_dict()["final_layer.weight"].shape[0] == 15
    assert torch.equal(task.network.state_dict()["conv1.weight"], stored["conv1.weight"])


def test_laterals_can_be_added_but_not_dropped(data, learnt_pose, tmp_path):
    stored = learnt_pose[0] / "final.pt"
    task, _ = pose_task(data[0], "network.laterals=true", init=stored)
    crops = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(task.network.eval()(crops), load_pose(stored).network(crops))
    task.save(tmp_path / "laterals.pt", task.network)
    with pytest.raises(CheckpointError, match=r"does not fit.*laterals\.0\.weight"):
        pose_task(data[0], init=tmp_path / "laterals.pt")
    detector, _ = detector_task(data[0], init=tmp_path / "laterals.pt")
    trunk = task.network.state_dict()["layer1.0.conv1.weight"]
    assert torch.equal(detector.network.state_dict()["layer1.0.conv1.weight"], trunk)


def test_laterals_can_be_added_to_a_detector(data, learnt_detector):
    stored = learnt_detector[0] / "final.pt"
    task, _ = detector_task(data[0], "network.laterals=true", init=stored)
    views = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        found, expected = task.network.eval()(views), load_detector(stored).network(views)
    assert all(map(torch.equal, found, expected))
    assert len(task.network.laterals) == 3


def test_weights_for_bgr_are_turned_round(data, tmp_path):
    torch.manual_seed(0)
    network = PoseResNet(18, width=0.25, deconv_channels=(32, 32, 32))
    save_pose(tmp_path / "bgr.pt", network, skeleton="coco-17", color="bgr")
    task, _ = pose_task(data[0], init=tmp_path / "bgr.pt")
    conv = task.network.state_dict()["conv1.weight"]
    assert torch.equal(conv, network.state_dict()["conv1.weight"][:, [2, 1, 0]])


@pytest.mark.parametrize(
    "change", ["network.width=0.5", "network.depth=34", "network.deconv_kernel=2"]
)
def test_weights_of_another_network_are_refused(data, learnt_pose, change):
    with pytest.raises(CheckpointError, match="does not fit the recipe's network"):
        pose_task(data[0], change, init=learnt_pose[0] / "final.pt")


def test_a_detector_takes_no_other_trunk(data, learnt_pose, tmp_path):
    for change in ("network.width=0.5", "network.depth=34"):
        with pytest.raises(CheckpointError, match="expected a detector or a pose network"):
            detector_task(data[0], change, init=learnt_pose[0] / "final.pt")
    deeper = tmp_path / "34.pt"  # has every tensor of ResNet-18, and more
    save_detector(
        deeper, CenterDetector(34, width=0.25, deconv_channels=(32, 32, 32), head_channels=32)
    )
    with pytest.raises(CheckpointError, match=r"a ResNet-18 of width 0\.25"):
        detector_task(data[0], init=deeper)


@pytest.mark.parametrize("made", [pose_task, detector_task])
def test_a_backbone_is_taken_from_the_data_folder(data, made):
    folder, _ = data
    state = PoseResNet(18, width=0.25).state_dict()
    trunk = {k: v for k, v in state.items() if k.startswith(("conv1.", "bn1.", "layer"))}
    write_checkpoint(folder / "resnet18.pth", {**trunk, "fc.weight": torch.zeros(2, 2)}, {})
    task, _ = made(folder, "network.backbone=resnet18.pth")
    ours = task.network.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in trunk.items())
    with pytest.raises(CheckpointError, match=r"none\.pth"):
        made(folder, "network.backbone=none.pth")


@pytest.mark.parametrize("made", [pose_task, detector_task])
def test_the_seed_decides_the_weights(data, made):
    first, same, other = (
        made(data[0], f"seed={seed}")[0].network.state_dict() for seed in (3, 3, 4)
    )
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_decoding_is_that_of_the_exported_graph():
    rng = torch.Generator().manual_seed(1)
    maps = torch.randn(6, 17, 12, 9, generator=rng)
    maps[0, 0], maps[0, 1] = -1.0, 0.0  # nothing found
    maps[1, 0, 0, 0] = maps[1, 1, -1, -1] = maps[1, 2, 1, 5] = 9.0
    wanted = KeypointDecoder(12, 9, 4)(maps)[..., :2]
    torch.testing.assert_close(_decoded(maps, (48, 36)), wanted, rtol=0, atol=0)


def test_peaks_are_those_of_the_exported_graph():
    rng = torch.Generator().manual_seed(2)
    maps = CenterMaps(*(torch.randn(3, c, 10, 14, generator=rng) for c in (1, 2, 2)))
    boxes, scores = PeakDecoder(10, 14, 4, 100)(maps.heatmap.sigmoid(), maps.size, maps.offset)
    ours = peaks(maps)
    found = scores > 0  # places that hold no peak come in any order
    assert torch.equal(ours[1], scores)
    torch.testing.assert_close(ours[0][found], boxes[found])


class Told(nn.Module):
    """Gives what it was told, batch after batch."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs
        self.at = 0

    def forward(self, pictures):
        start, self.at = self.at, self.at + len(pictures)
        if isinstance(self.outputs, CenterMaps):
            return CenterMaps(*(m[start : self.at] for m in self.outputs))
        return self.outputs[start : self.at]


@pytest.fixture
def crowd(tmp_path):
    """Seventy people with a few joints each: more than a batch of validation."""
    rng = np.random.default_rng(4)
    people = []
    for _ in range(70):
        x, y = rng.uniform(0, 60, 2)
        width, height = rng.uniform(15, 60, 2)
        names = rng.choice(COCO_17.joints, 6, replace=False)
        joints = {n: (x + rng.uniform(0, width), y + rng.uniform(0, height)) for n in names}
        people.append(person((x, y, x + width, y + height), joints, hidden=tuple(names[:2])))
    write_coco(tmp_path / "poses", {"a.png": noise(120, 120, 1)}, {"a.png": people})
    (tmp_path / "pose.toml").write_text(POSE_RECIPE)
    return tmp_path


def test_figures_of_poses_against_plain_loops(crowd):
    task, _ = pose_task(crowd)
    crops = task._held_out["poses"]
    rng = np.random.default_rng(0)
    samples = [crops.sample(i, rng) for i in range(70)]
    maps = torch.rand(70, 17, 16, 16, generator=torch.Generator().manual_seed(3)) * 0.1
    for n, sample in enumerate(samples):  # peaks somewhere near the joints
        for k, (x, y) in enumerate(sample["joints"] / 4 + rng.normal(0, 0.3, (17, 2))):
            maps[n, k, int(np.clip(y, 0, 15)), int(np.clip(x, 0, 15))] = 1
    figures = task.validate(Told(maps), torch.device("cpu"))
    found = KeypointDecoder(16, 16, 4)(maps).numpy()
    recalled = near = labelled = 0
    for n, sample in enumerate(samples):
        similar = []
        for k in range(17):
            if sample["weight"][k] > 0:
                squared = float(((found[n, k, :2] - sample["joints"][k]) ** 2).sum())
                variance = (2 * float(COCO_17.sigmas[k])) ** 2
                similar.append(np.exp(-squared / (2 * variance * 0.53 * sample["area"])))
                near += squared < 0.01 * 2 * sample["area"]
                labelled += 1
        oks = np.mean(similar) if similar else 0
        recalled += sum(oks >= t for t in np.arange(0.5, 0.951, 0.05))
    assert 0.1 < figures["ar"] < 0.9
    assert figures["ar"] == pytest.approx(recalled / 700, abs=1e-9)
    assert figures["pck"] == pytest.approx(near / labelled, abs=1e-9)
    assert figures["ar_poses"] == figures["ar"]


def test_figures_of_boxes_against_the_counter_itself(tmp_path):
    rng = np.random.default_rng(5)
    pictures, people = {}, {}
    for i in range(20):
        pictures[f"{i:02}.png"] = noise(64, 64, i)
        corners = rng.uniform(0, 40, (3, 2))
        people[f"{i:02}.png"] = [
            person((x, y, x + 20, y + 20), crowd=bool(rng.uniform() < 0.2)) for x, y in corners
        ]
    write_coco(tmp_path / "boxes", pictures, people)
    (tmp_path / "detector.toml").write_text(DETECTOR_RECIPE)
    task, _ = detector_task(tmp_path)
    views = task._held_out["boxes"]
    batch = stack([views.sample(i, np.random.default_rng(0)) for i in range(20)])
    maps = CenterMaps(
        torch.randn(20, 1, 16, 16, generator=torch.Generator().manual_seed(1)) - 3,
        torch.full((20, 2, 16, 16), 5.0),
        torch.full((20, 2, 16, 16), 0.5),
    )
    for n in range(20):
        for x1, y1, x2, y2 in batch["boxes"][n, :3].tolist():
            maps.heatmap[n, 0, int((y1 + y2) / 8), int((x1 + x2) / 8)] = rng.normal(0, 2)
    boxes, scores = PeakDecoder(16, 16, 4, 100)(maps.heatmap.sigmoid(), maps.size, maps.offset)
    there = [batch["boxes"][n][batch["kind"][n] > 0].numpy() for n in range(20)]
    crowds = [batch["kind"][n][batch["kind"][n] > 0].numpy() == 2 for n in range(20)]
    wanted = average_precision(list(boxes.numpy()), list(scores.numpy()), there, crowds)
    figures = task.validate(Told(maps), torch.device("cpu"))
    assert 0.2 < wanted < 0.95
    assert figures["ap50"] == figures["ap50_boxes"] == pytest.approx(wanted, abs=1e-9)


def test_networks_see_rgb_as_the_exported_graph_does(data):
    """A crop goes through the task's own normalisation to the same values as in the graph."""
    for task, key in ((pose_task(data[0])[0], "crop"), (detector_task(data[0])[0], "view")):
        sample = stack([task.mixture[0]])[key]
        rgb = sample.flip(3).permute(0, 3, 1, 2).float()
        torch.testing.assert_close(task._input(sample), Normalization()(rgb))


def without(folder, name, change):
    """Damage a data set's annotations."""
    path = folder / name / "person_keypoints.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def copy(tmp_path):
    poses_to_learn(tmp_path)
    boxes_to_learn(tmp_path)
    (tmp_path / "pose.toml").write_text(POSE_RECIPE)
    (tmp_path / "detector.toml").write_text(DETECTOR_RECIPE)
    return tmp_path


@pytest.mark.parametrize("made", [pose_task, detector_task])
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / "person_keypoints.json").unlink(), "cannot be read"),
        (lambda f: (f / "person_keypoints.json").write_text("{"), "no readable JSON"),
        (lambda f: (f / "person_keypoints.json").write_text('{"annolist": []}'), "annotations"),
        (lambda f: (f / "images" / "2.png").unlink(), r"2\.png is missing"),
    ],
)
def test_missing_and_damaged_data_is_noticed_before_training(copy, made, damage, told):
    damage(copy / ("poses" if made is pose_task else "boxes"))
    with pytest.raises(SourceError, match=told):
        made(copy)


def test_data_with_nobody_to_learn_from_is_refused(copy):
    with pytest.raises(SourceError, match="at least 18 labelled joints"):
        pose_task(copy, 'data=[{kind="coco", annotations="poses/person_keypoints.json", '
                  'pictures="poses/images", least_joints=18}]')  # fmt: skip
    without(copy, "boxes", lambda content: content.update(images=[], annotations=[]))
    with pytest.raises(SourceError, match="names no pictures to train on"):
        detector_task(copy)


def test_validation_sets_without_people_do_not_count(copy):
    """Neither in the figures nor by an error at the end of the first epoch."""
    without(copy, "poses", lambda content: content.update(annotations=[]))
    poses_to_learn(copy / "more")
    source = ('data=[{kind="coco", annotations="more/poses/person_keypoints.json", '
              'pictures="more/poses/images"}]')  # fmt: skip
    task, _ = pose_task(copy, source)
    assert task.validate(task.network.eval(), torch.device("cpu")) == {}
    without(copy, "boxes", lambda content: content.update(annotations=[]))
    task, _ = detector_task(copy)
    assert task.validate(task.network.eval(), torch.device("cpu")) == {}
