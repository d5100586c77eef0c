"""The whole way without downloads: a clip with known truth, two networks, a bundle, tracking.

    python -m examples.puppets.demo --out demo

The puppets wear markers that hand-made networks read exactly; what is being shown is the bundle,
the runtime, the tracker and the output. Networks trained on people take their place unchanged.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from examples.puppets.clip import ClipOptions, Truth, render
from examples.puppets.networks import build
from flowtrack import __version__
from flowtrack.runtime import open_pipeline, write_bundle
from flowtrack.runtime.drawing import DrawOptions
from flowtrack.runtime.manifest import FlowSpec, Manifest
from flowtrack.runtime.output import NamedClip, open_writers
from flowtrack.structs import Frame, TrackedFrame


def make_bundle(folder: Path, options: ClipOptions) -> Path:
    """Write `folder/puppets.bundle` with the puppets' networks and DIS flow."""
    networks = build(folder, options.height, options.width)
    manifest = Manifest(
        skeleton="coco-17",
        detector=networks.detector,
        pose=networks.pose,
        flow=FlowSpec("dis"),
        made_by=f"flowtrack {__version__}",
        made_from={"program": "examples/puppets"},
    )
    files: dict[str, bytes | Path] = {
        file.path: folder / file.path for file in manifest.files().values()
    }
    return write_bundle(folder / "puppets.bundle", manifest, files).path


def joint_errors(truth: Truth, tracked: TrackedFrame) -> np.ndarray:
    """Distances in pixels of visible joints that were found, to the person they are nearest to."""
    if not len(truth.xy) or not len(tracked.poses):
        return np.zeros(0)
    distance = np.linalg.norm(truth.xy[:, None] - tracked.poses.xy[None], axis=-1)
    gap = np.nanmedian(np.where(np.isfinite(distance), distance, np.inf), axis=2)
    errors = distance[np.arange(len(truth.xy)), gap.argmin(axis=1)]
    found: np.ndarray = errors[truth.visible & np.isfinite(errors)]
    return found


def main() -> None:
    """Make the clip and the bundle, track, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--frames", type=int, default=ClipOptions().frames)
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    options = ClipOptions(frames=arguments.frames)

    pipeline = open_pipeline(make_bundle(out, options))
    print(f"running on {pipeline.device}")
    rendered = list(render(options))
    frames = [Frame(i, i / options.fps, image) for i, (image, _) in enumerate(rendered)]
    results: list[TrackedFrame] = []
    clip, draw = NamedClip("puppets", options.fps), DrawOptions(boxes=True)
    formats = ("posetrack", "jsonl", "mp4")
    began = time.perf_counter()
    with open_writers(out, clip, pipeline.skeleton, formats, draw=draw) as writers:
        for frame, tracked in pipeline.run(frames):
            writers.write(tracked, frame.image)
            results.append(tracked)
    seconds = time.perf_counter() - began
    _say(rendered, results, seconds)
    fullest = max(range(len(results)), key=lambda i: len(results[i].poses))
    _still(out / "puppets.png", writers.paths["mp4"], fullest)
    print(f"look at {out}/puppets.mp4 and {out}/puppets.png")


def _say(
    rendered: list[tuple[np.ndarray, Truth]], results: list[TrackedFrame], seconds: float
) -> None:
    errors = np.concatenate(
        [joint_errors(truth, r) for (_, truth), r in zip(rendered, results, strict=True)]
    )
    people = {int(i) for _, truth in rendered for i in truth.id}
    ids = {int(i) for r in results for i in r.tracks.id}
    carried = sum(int(r.boxes.origin.sum()) for r in results)
    print(f"{len(results)} frames in {seconds:.1f} s with drawing and encoding")
    print(f"{len(people)} people in truth, {len(ids)} ids given")
    print(f"{carried} poses came from boxes that only the optical flow knew of")
    print(f"median joint error {np.median(errors):.2f} px over {errors.size} visible joints")
    stages: dict[str, float] = {}
    for r in results:
        for stage, ms in r.timing_ms.items():
            stages[stage] = stages.get(stage, 0.0) + ms / len(results)
    print("ms a frame: " + ", ".join(f"{stage} {ms:.1f}" for stage, ms in stages.items()))


def _still(path: Path, video: Path, index: int) -> None:
    from flowtrack.runtime.video import open_source

    with open_source(video) as source:
        for frame in source:
            if frame.index == index:
                cv2.imwrite(str(path), frame.image)
                return


if __name__ == "__main__":
    main()
