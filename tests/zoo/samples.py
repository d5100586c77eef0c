"""Small networks in the forms in which publishers offer theirs, and a catalogue of them."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.support.graphs import constant
from tests.zoo.publisher import Publisher

HOST = "models.example.org"
MEMBER = "20230831/rtmpose_onnx/tiny/end2end.onnx"


def yolox(side: int = 64) -> bytes:
    """An undecoded detector that always sees one person: cell (2, 1) of stride 16."""
    cells = [(side // stride) ** 2 for stride in (8, 16, 32)]
    rows = np.zeros((1, sum(cells), 85), np.float32)
    person = cells[0] + 1 * (side // 16) + 2
    rows[0, person, :4] = [0.5, 0.5, np.log(1.5), np.log(3.0)]
    rows[0, person, 4:6] = [0.95, 0.9]
    return constant({"images": ("float32", (1, 3, side, side))}, {"output": rows})


def simcc(height: int = 64, width: int = 48) -> bytes:
    """A pose network that answers with two classifications, joint k at (2 k, 3 k)."""
    along_x = np.zeros((1, 17, 2 * width), np.float32)
    along_y = np.zeros((1, 17, 2 * height), np.float32)
    joints = np.arange(17)
    along_x[0, joints, 4 * joints] = 0.8
    along_y[0, joints, 6 * joints] = 0.7
    outputs = {"simcc_x": along_x, "simcc_y": along_y}
    return constant({"input": ("float32", (1, 3, height, width))}, outputs)


def zipped(content: bytes, member: str = MEMBER) -> bytes:
    """As RTMPose publishes, the graph in folders, beside notes: the same bytes at any time."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in (
            (member, content),
            (str(Path(member).with_name("detail.json")), b"{}"),
        ):
            # A name alone would be given the time of day.
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def checkpoint(head: str = "head") -> bytes:
    """A small Simple Baseline in MMPose's layout: `head` of 1.x, or `keypoint_head` of 0.x."""
    import torch

    from flowtrack.training.models import PoseResNet

    torch.manual_seed(0)
    network = PoseResNet(18, joints=17, deconv_channels=(16, 16, 16), width=0.25)
    state = {}
    for name, value in network.state_dict().items():
        part = head if name.startswith(("deconv_layers", "final_layer")) else "backbone"
        state[f"{part}.{name}"] = value
    stream = io.BytesIO()
    torch.save({"meta": {"epoch": 210}, "state_dict": state}, stream)
    return stream.getvalue()


@dataclass
class Entry:
    """A network of the catalogue to write."""

    name: str
    part: str
    format: str
    content: bytes
    reading: str
    feed: str
    path: str = ""
    extra: str = ""
    sha256: str | None = None
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        suffix = {"onnx": "onnx", "zip": "zip", "checkpoint": "pth"}[self.format]
        return self.path or f"/v1/{self.name}.{suffix}"

    def toml(self) -> str:
        """Its tables."""
        digest = hashlib.sha256(self.content).hexdigest() if self.sha256 is None else self.sha256
        origin = f'sha256 = "{digest}"\nsha256_from = "others"' if digest else (
            'sha256_from = "nobody"'
        )  # fmt: skip
        return f"""
[networks.{self.name}]
part = "{self.part}"
title = "{self.name}"
home = "https://{HOST}"
licence = "MIT"
trained_on = "nothing"
accuracy = {{ value = 50, metric = "AP", on = "nothing" }}
input = {{ {self.feed} }}
{self.part} = {{ {self.reading} }}

[networks.{self.name}.file]
url = "https://{HOST}{self.place}"
format = "{self.format}"
size_bytes = {len(self.content)}
{origin}
{self.extra}
"""


def tiny_yolox() -> Entry:
    return Entry("tiny-yolox", "detector", "onnx", yolox(), 'decode = "yolox", person_class = 0',
                 'height = 64, width = 64, color = "bgr"')  # fmt: skip


def tiny_simcc() -> Entry:
    member = f'member = "end2end.onnx"\nmember_sha256 = "{hashlib.sha256(simcc()).hexdigest()}"'
    feed = 'height = 64, width = 48, color = "rgb", mean = [123.675, 116.28, 103.53]'
    reading = 'decode = "simcc", skeleton = "coco-17", simcc_ratio = 2.0'
    return Entry("tiny-simcc", "pose", "zip", zipped(simcc()), reading, feed, extra=member)


def tiny_checkpoint(head: str = "head", skeleton: str = "coco-17") -> Entry:
    content = checkpoint(head)
    return Entry("tiny-baseline", "pose", "checkpoint", content,
                 f'decode = "keypoints", skeleton = "{skeleton}"',
                 'height = 64, width = 64, color = "rgb"',
                 sha256=hashlib.sha256(content).hexdigest()[:8])  # fmt: skip


def write_catalogue(path: Path, entries: Iterable[Entry], *pairs: tuple[str, str, str]) -> Path:
    """A catalogue of networks, and of combinations as (name, detector, pose)."""
    text = "".join(entry.toml() for entry in entries)
    for name, detector, pose in pairs:
        text += f'\n[combinations.{name}]\ntitle = "{name}"\ndetector = "{detector}"\n'
        text += f'pose = "{pose}"\nflow = "dis"\n'
    path.write_text(text)
    return path


def publish(publisher: Publisher, entries: Iterable[Entry]) -> None:
    """Put the networks' files where a mirror has them."""
    for entry in entries:
        publisher.put(f"/{HOST}{entry.place}", entry.content)
