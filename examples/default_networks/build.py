"""Train the three networks of the default bundle and put them together.

    python -m examples.default_networks.build DATA --work runs --out flowtrack/default

DATA holds the data sets that the recipes default-pose, default-detector and default-flow name. What
is finished is not done again, and a training that was stopped is resumed: run the same command
once more. With `--effort 10` every network sees ten times as many samples.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flowtrack.runtime import open_bundle, write_bundle
from flowtrack.training.recipe import DetectorRecipe, FlowRecipe, PoseRecipe, read_recipe

SCENES = 1000
"""Rendered pictures of people: few against the photographs, so that those decide."""

POSE_SIZE, DETECTOR_SIZE, FLOW_SIZE = "128x96", "320x320", "192x256"
"""Input sizes in the bundle, HEIGHTxWIDTH."""


THRESHOLDS = {"box_threshold": 0.25, "joint_threshold": 0.3}
"""Of the tracker: small networks are less sure of themselves than those that the defaults are for.
Chosen on rendered clips, by MOTA."""

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

    def flowtrack(self, *arguments: str | Path) -> None:
        """Run a command, shown as it could be typed."""
        words = ["flowtrack", *(str(argument) for argument in arguments)]
        print("$", *words, flush=True)
        subprocess.run([sys.executable, "-m", *words], check=True)

    def train(self, task: str, recipe: str, init: Path | None = None) -> Path:
        """Train by a recipe unless that is done; the checkpoint."""
        samples = read_recipe(RECIPES[task], recipe).schedule.samples
        out = self.work / recipe.replace(":", "-")
        if not (out / "final.pt").is_file():
            more: list[str | Path] = ["--init", init] if init else []
            resume = ["--resume"] if (out / "last.pt").is_file() else []
            memory = ["--in-memory"] if task != "flow" else []
            self.flowtrack(
                "train", task, recipe, "--data", self.data, "--out", out, *more, *resume, *memory,
                "--device", self.device, "--workers", str(self.workers), "--compile",
                "--set", f"schedule.samples={round(samples * self.effort)}",
            )  # fmt: skip
        return out / "final.pt"

    def scenes(self) -> None:
        """Render people, in COCO's layout."""
        from flowtrack.synthetic import SceneOptions, write_scenes

        folder = self.data / "synthetic"
        if not folder.exists():
            options = SceneOptions(416, 320, backgrounds=self.data / "backgrounds")
            write_scenes(folder, SCENES, options, seed=1000)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, export, assemble."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="the bundle")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--effort", type=float, default=1.0)
    options = parser.parse_args(arguments)
    build = Build(options.data, options.work, options.device, options.workers, options.effort)
    build.scenes()
    pose = build.train("pose", "default-pose:small")
    pose = build.train("pose", "default-pose", pose)
    detector = build.train("detector", "default-detector", pose)
    flow = build.train("flow", "default-flow:small")
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
