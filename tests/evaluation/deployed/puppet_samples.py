"""A tiny PoseTrack-style data set of puppets, and a bundle that sees them."""

from __future__ import annotations

import json
from pathlib import Path

from examples.puppets import clip, networks
from flowtrack.evaluation.deployed.networks import Networks, open_networks
from flowtrack.runtime.bundle import write_bundle
from flowtrack.runtime.manifest import FlowSpec, Manifest

HEIGHT, WIDTH, FPS = 256, 320, 8


def write_clip(folder: Path, name: str, *, seed: int = 0, frames: int = 8) -> Path:
    """`folder/name/00001.png` ... and `folder/name.json`, which is returned."""
    options = clip.ClipOptions(WIDTH, HEIGHT, frames=frames, fps=FPS, seed=seed)
    return clip.write(folder, options, name)


def make_bundle(path: Path, *, flow: bool = True, **tracker: object) -> Path:
    """A bundle of the puppets' networks."""
    folder = path.parent / f"{path.name}.networks"
    folder.mkdir()
    made = networks.build(folder, HEIGHT, WIDTH)
    spec = FlowSpec("dis", max_side=160) if flow else None
    manifest = Manifest("coco-17", made.detector, made.pose, spec, tracker=tracker)
    files = {file.path: folder / file.path for file in manifest.files().values()}
    return write_bundle(path, manifest, files).path


def counted(loaded: Networks) -> dict[str, int]:
    """How many pictures detector and pose network are shown from now on, and flows computed."""
    calls = {"detector": 0, "pose": 0, "flow": 0}

    def watch(part, owner, name, count):
        inner = getattr(owner, name)

        def watched(*arguments, **more):
            calls[part] += count(*arguments)
            return inner(*arguments, **more)

        setattr(owner, name, watched)

    def pictures(feeds):
        return len(next(iter(feeds.values())))

    watch("detector", loaded.detector.engine, "infer", pictures)
    watch("pose", loaded.pose.engine, "infer", pictures)
    if loaded.flow is not None:
        watch("flow", loaded.flow, "between", lambda *_: 1)
    return calls


def opened(path: Path) -> Networks:
    return open_networks(path, "cpu", 1)


def sparse(path: Path, target: Path, keep: slice) -> Path:
    """The truth at `path` with some of its frames only, as PoseTrack labels some."""
    content = json.loads(path.read_text())
    content["annolist"] = content["annolist"][keep]
    target.write_text(json.dumps(content))
    return target
