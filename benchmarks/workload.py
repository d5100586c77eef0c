"""What the whole pipeline is measured on: 1080p frames with four people, and networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from benchmarks.environment import ROOT
from flowtrack.runtime.assemble import IMAGENET, Feeding, describe_network
from flowtrack.runtime.bundle import Bundle, write_bundle
from flowtrack.runtime.manifest import DetectorSpec, FlowSpec, Manifest, PoseSpec
from flowtrack.runtime.output.mp4 import Mp4Writer
from flowtrack.structs import ByteArray, Frame, Poses, TrackedFrame, Tracks

REAL = ROOT.parent / "shared" / "real"
"""Real networks and pictures, kept beside the repository and not in it."""

SIZE = (1920, 1080)
PEOPLE = 4
FPS = 25.0


@dataclass(frozen=True)
class Workload:
    """A bundle, and a clip on disk and in memory.

    Attributes:
        name: `real`, or `puppets` (drawn figures, and networks that read them untrained).
        clip: the frames as H.264.
        networks: SHA-256 by part.
    """

    name: str
    bundle: Bundle
    frames: list[Frame]
    clip: Path
    networks: dict[str, str]

    @property
    def trained(self) -> bool:
        """Whether these are networks that somebody would use; only they bear a verdict."""
        return self.name == "real"


@contextmanager
def prepared(frames: int) -> Iterator[Workload]:
    """The real workload where its files are present, else the puppets; gone afterwards.

    Args:
        frames: length of the clip, at most 40.
    """
    with TemporaryDirectory(prefix="flowtrack-bench-") as scratch:
        folder = Path(scratch)
        real = (REAL / "nets").is_dir() and (REAL / "bonn").is_dir()
        bundle = _real_bundle(folder) if real else _puppet_bundle(folder)
        pictures = _real_pictures(frames) if real else _puppet_pictures(frames)
        clip = [Frame(index, index / FPS, image) for index, image in enumerate(pictures)]
        yield Workload(
            name="real" if real else "puppets",
            bundle=bundle,
            frames=clip,
            clip=encode(folder / "clip.mp4", clip),
            networks=hashes(bundle.manifest),
        )


def encode(path: Path, frames: list[Frame]) -> Path:
    """Frames as they are, as H.264."""
    nobody = Poses.empty(1)
    with Mp4Writer(path, lambda image, _: image, FPS) as writer:
        for frame in frames:
            writer.write(TrackedFrame(frame.index, frame.time_s, nobody, Tracks.empty()),
                         frame.image)  # fmt: skip
    return path


def hashes(manifest: Manifest) -> dict[str, str]:
    """SHA-256 of the networks by part; flow without a network gives its method."""
    found = {part: file.sha256 for part, file in manifest.files().items()}
    if manifest.flow is not None and manifest.flow.file is None:
        found["flow"] = f"{manifest.flow.decode} {manifest.flow.preset}, no network"
    return found


def _real_bundle(folder: Path) -> Bundle:
    detector = REAL / "nets" / "yolox_nano.onnx"
    pose = REAL / "nets" / "ultralight_simplepose_deploy.onnx"
    manifest = Manifest(
        skeleton="coco-17",
        detector=DetectorSpec(describe_network(detector, "detector", Feeding("bgr")), "yolox"),
        pose=PoseSpec(describe_network(pose, "pose", IMAGENET), "heatmap"),
        flow=FlowSpec("dis"),
    )
    files: dict[str, bytes | Path] = {"detector.onnx": detector, "pose.onnx": pose}
    return write_bundle(folder / "bundle", manifest, files)


def _real_pictures(frames: int) -> Iterator[ByteArray]:
    for path in sorted((REAL / "bonn").glob("*.jpg"))[:frames]:
        picture = cv2.imread(str(path))
        large = cv2.resize(np.asarray(picture), SIZE, interpolation=cv2.INTER_CUBIC)
        yield np.asarray(large, np.uint8)


def _puppet_bundle(folder: Path) -> Bundle:
    from examples.puppets import networks

    # The networks read marks of a few pixels, so the detector sees the clip at half its size.
    made = networks.build(folder, height=SIZE[1] // 2, width=SIZE[0] // 2)
    manifest = Manifest("coco-17", made.detector, made.pose, FlowSpec("dis"))
    files: dict[str, bytes | Path] = {
        file.path: folder / file.path for file in manifest.files().values()
    }
    return write_bundle(folder / "bundle", manifest, files)


def _puppet_pictures(frames: int) -> Iterator[ByteArray]:
    from examples.puppets.clip import ClipOptions, render

    options = ClipOptions(SIZE[0] // 2, SIZE[1] // 2, frames, FPS, PEOPLE)
    for picture, _ in render(options):
        yield np.ascontiguousarray(picture.repeat(2, axis=0).repeat(2, axis=1))
