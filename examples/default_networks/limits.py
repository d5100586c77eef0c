"""What limits the tracking of rendered clips: each network but the pose network made exact.

    python -m examples.default_networks.limits flowtrack/default

Tracks the demo's clip and those of the next four seeds as they are, with the exact boxes of what
can be seen of each person in the place of the detector's, and with the exact flow in the place of
the flow network's. What is missing in all columns is the pose network's, or the tracker's own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from examples.default_networks.measure import SEEDS, demo_clip, track_rendered
from flowtrack.errors import InputError
from flowtrack.runtime import Pipeline, open_pipeline
from flowtrack.runtime.clock import StageClock
from flowtrack.runtime.detector import Detector
from flowtrack.runtime.flow import FlowImage
from flowtrack.structs import Boxes, FlowField, Frame
from flowtrack.synthetic import SyntheticFrame


class ExactBoxes(Detector):
    """Finds everybody of whom something can be seen, with a score of 1."""

    def __init__(self, replaced: Detector, frames: Sequence[SyntheticFrame]) -> None:
        """A detector in the place of another one, for these frames."""
        super().__init__(replaced.engine, replaced.spec)
        self._boxes = {frame.index: frame.boxes for frame in frames}

    def __call__(self, frame: Frame, clock: StageClock | None = None) -> Boxes:
        """The exact boxes of a frame."""
        del clock  # there is nothing to time
        xyxy = self._boxes[frame.index].astype(np.float32)
        return Boxes.detected(xyxy, np.ones(len(xyxy), np.float32))


class ExactFlow:
    """The motion that the pictures were rendered with."""

    def __init__(self, frames: Sequence[SyntheticFrame]) -> None:
        """Flow between neighbours of these frames."""
        self._flows = {
            (frame.index, frame.flow.to_index): frame.flow for frame in frames if frame.flow
        }

    def prepare(self, frame: Frame, clock: StageClock | None = None) -> FlowImage:
        """Nothing but the frame's number counts."""
        del clock
        return FlowImage(frame.index, (frame.height, frame.width), frame.image)

    def between(
        self, first: FlowImage, second: FlowImage, clock: StageClock | None = None
    ) -> FlowField:
        """The exact flow.

        Raises:
            InputError: it was not rendered for these two frames.
        """
        del clock
        pair = (first.index, second.index)
        if pair not in self._flows:
            raise InputError(f"no flow was rendered from frame {first.index} to {second.index}")
        return self._flows[pair]


def limits(bundle: str | Path, seed: int) -> dict[str, tuple[float, float]]:
    """Figures (mAP, MOTA) of a rendered clip by what is exact: `nothing`, `boxes`, `flow`."""
    frames = demo_clip(seed)

    def scores(pipeline: Pipeline) -> tuple[float, float]:
        found = track_rendered(pipeline, frames)
        return found.mean_ap, found.mota

    pipeline = open_pipeline(bundle, device="cpu")
    result = {"nothing": scores(pipeline)}
    detector, pipeline.detector = pipeline.detector, ExactBoxes(pipeline.detector, frames)
    result["boxes"] = scores(pipeline)
    pipeline.detector, pipeline.flow = detector, ExactFlow(frames)
    result["flow"] = scores(pipeline)
    return result


def main() -> None:
    """Print mAP and MOTA of every clip."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    bundle = parser.parse_args().bundle
    print("seed  as it is      exact boxes   exact flow    (mAP / MOTA)")
    for seed in SEEDS:
        pairs = limits(bundle, seed).values()
        row = "   ".join(f"{mean_ap:4.1f} / {mota:4.1f}" for mean_ap, mota in pairs)
        print(f"{seed:4}  {row}", flush=True)


if __name__ == "__main__":
    main()
