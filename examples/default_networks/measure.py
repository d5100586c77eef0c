"""Measure a bundle on material that its training has not seen, real and rendered.

    python -m examples.default_networks.measure flowtrack/default MATERIAL --out figures.json

MATERIAL holds `bonn/` (a PoseTrack17 clip), `coco_mini/` (COCO annotations and, in `val2017/`,
pictures) and `flow/` (pairs with .flo). Rendered are the demo's clip and those of the next four
seeds. Needs pycocotools.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flowtrack.cli.demo_run import run_demo
from flowtrack.evaluation.coco import evaluate as evaluate_coco
from flowtrack.evaluation.coco_files import Kind, read_truth
from flowtrack.evaluation.deployed.coco import detect_people, estimate_poses
from flowtrack.evaluation.deployed.coco_set import CocoSet, open_set
from flowtrack.evaluation.deployed.flow import by_runtime, measure, no_motion
from flowtrack.evaluation.flow_pairs import find_pairs
from flowtrack.evaluation.posetrack import PoseTrackScores, evaluate
from flowtrack.evaluation.posetrack_files import read_posetrack
from flowtrack.runtime import Pipeline, open_bundle, open_pipeline
from flowtrack.runtime.flow import DisFlow, FlowEstimator
from flowtrack.runtime.manifest import FlowSpec
from flowtrack.runtime.output import open_writers
from flowtrack.runtime.video import open_source
from flowtrack.synthetic import ClipOptions, SyntheticFrame, render_clip

JOINTS = "body12"
"""The joints that COCO and the clip's annotation share."""

SEEDS = range(5)
"""Of the rendered clips; `flowtrack demo` shows the first."""


def track(pipeline: Pipeline, clip: Path, truth: Path) -> PoseTrackScores:
    """Scores of a bundle's tracking of a clip."""
    with tempfile.TemporaryDirectory() as folder, open_source(clip) as source:
        with open_writers(Path(folder), source, pipeline.skeleton, ["posetrack"]) as writers:
            for frame, tracked in pipeline.run(source):
                writers.write(tracked, frame.image)
        return evaluate(read_posetrack(truth), read_posetrack(writers.paths["posetrack"]), JOINTS)


def demo_clip(seed: int) -> list[SyntheticFrame]:
    """The clip that `flowtrack demo --seed` renders."""
    return list(render_clip(ClipOptions(width=640, height=480, frames=100, people=5, seed=seed)))


def track_rendered(pipeline: Pipeline, frames: Sequence[SyntheticFrame]) -> PoseTrackScores:
    """Scores of a bundle's tracking of a rendered clip."""
    with tempfile.TemporaryDirectory() as folder:
        return run_demo(frames, pipeline, Path(folder), fps=ClipOptions.fps).scores


def detector_ap50(pipeline: Pipeline, folder: Path) -> float:
    """Average precision at IoU 0.5 of people."""
    pictures = coco_pictures(folder, "boxes")
    found = detect_people(pipeline.detector, pictures)
    return evaluate_coco(pictures.truth, found, pictures.pictures).values["AP50"]


def keypoint_ap(pipeline: Pipeline, folder: Path) -> float:
    """COCO's keypoint AP with the annotated boxes."""
    pictures = coco_pictures(folder, "keypoints")
    found = estimate_poses(pipeline.pose, pictures)
    return evaluate_coco(pictures.truth, found, pictures.pictures).values["AP"]


def coco_pictures(folder: Path, kind: Kind) -> CocoSet:
    """The annotated pictures of a COCO folder, as far as they are there."""
    truth = read_truth(next(folder.glob("*.json")), kind)
    return open_set(truth, folder / "val2017", partial=True)


def end_point_errors(flow: FlowEstimator, folder: Path) -> list[float]:
    """Mean end-point error of each pair, in pixels."""
    (scores,) = measure([by_runtime("flow", "flow", flow)], find_pairs(folder))
    return [pair.epe for pair in scores.pairs]


def zero_errors(folder: Path) -> list[float]:
    """End-point error of no motion at all."""
    (scores,) = measure([no_motion()], find_pairs(folder))
    return [pair.epe for pair in scores.pairs]


def figures(bundle: str, material: Path) -> dict[str, Any]:
    """All figures of a bundle."""
    opened = open_bundle(bundle)
    pipeline = open_pipeline(opened, device="cpu")
    clip, truth = material / "bonn", material / "bonn/posetrack17.json"
    tracked = track(pipeline, clip, truth)
    every_joint = replace(pipeline.options, joint_threshold=0.0)
    manifest = opened.manifest
    loose = track(open_pipeline(opened, every_joint, device="cpu"), clip, truth)
    result: dict[str, Any] = {
        "bonn": {
            "MOTA": tracked.mota, "mAP": tracked.mean_ap, **{
                k: tracked.as_dict()[k] for k in ("switches", "ids", "people")
            },
            "PCKh": loose.pckh,
        },
        "coco_mini": {
            "detector_AP50": detector_ap50(pipeline, material / "coco_mini"),
            "keypoint_AP": keypoint_ap(pipeline, material / "coco_mini"),
        },
    }  # fmt: skip
    clips = {seed: track_rendered(pipeline, demo_clip(seed)) for seed in SEEDS}
    result["rendered"] = {
        f"seed_{seed}": {"MOTA": scores.mota, "mAP": scores.mean_ap, "ids": scores.tracking.ids}
        for seed, scores in clips.items()
    }
    methods = {"dis": end_point_errors(DisFlow(FlowSpec("dis")), material / "flow"),
               "zero": zero_errors(material / "flow")}  # fmt: skip
    if manifest.flow is not None and manifest.flow.file is not None and pipeline.flow is not None:
        methods["network"] = end_point_errors(pipeline.flow, material / "flow")
    result["flow"] = {name: {"mean": float(np.mean(v)), "pairs": v} for name, v in methods.items()}
    return result


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("material", type=Path)
    parser.add_argument("--out", type=Path, help="JSON file to write as well")
    arguments = parser.parse_args()
    text = json.dumps(figures(arguments.bundle, arguments.material), indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
