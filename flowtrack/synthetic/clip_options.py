"""What a rendered clip shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flowtrack.errors import OptionError
from flowtrack.synthetic.people.motions import MOTIONS
from flowtrack.synthetic.places.scenery import pictures_in
from flowtrack.synthetic.shot import CAMERAS


@dataclass(frozen=True)
class ClipOptions:
    """What a clip shows.

    Attributes:
        width, height: of the pictures, pixels.
        frames: how many.
        fps: frames a second, before any are missed.
        people: how many take part; some enter late or leave.
        seed: of everything that is left to chance.
        scale: smallest and largest standing height as a share of the picture's height.
        crowd: 0 spreads people over the depth of the scene, 1 puts them closely together.
        motions: what people may do, see `MOTIONS`.
        camera: how the camera moves, one of `CAMERAS`.
        shutter: share of the time between two frames during which the picture is exposed; 0 gives
            sharp pictures.
        missed: probability that a frame is dropped, so that the motion to the next one doubles.
        things: how many tables, posts and crates stand around.
        degrade: how much noise, blur and compression the camera adds, 0 to 1.
        shading: light and shadows; without them surfaces keep their colours as they move.
        backgrounds: folder of pictures of which one becomes the background; None paints a place.
    """

    width: int = 640
    height: int = 480
    frames: int = 90
    fps: float = 25.0
    people: int = 5
    seed: int = 0
    scale: tuple[float, float] = (0.36, 0.66)
    crowd: float = 0.3
    motions: tuple[str, ...] = MOTIONS
    camera: str = "static"
    shutter: float = 0.0
    missed: float = 0.0
    things: int = 0
    degrade: float = 0.0
    shading: bool = True
    backgrounds: Path | None = None

    def __post_init__(self) -> None:
        if not 32 <= min(self.width, self.height) <= max(self.width, self.height) <= 4096:
            raise OptionError(
                f"picture size is {self.width} x {self.height}, expected 32 to 4096 pixels a side"
            )
        for name, low, high in (
            ("frames", 1, 1_000_000), ("people", 0, 60), ("things", 0, 20), ("seed", 0, 2**63),
            ("crowd", 0, 1), ("shutter", 0, 1), ("missed", 0, 0.9), ("degrade", 0, 1),
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise OptionError(f"{name} is {getattr(self, name)}, expected {low} to {high}")
        if not 0 < self.fps <= 1000:
            raise OptionError(f"fps is {self.fps}, expected above 0 and at most 1000")
        if not 0.02 <= self.scale[0] <= self.scale[1] <= 4:
            raise OptionError(
                f"scale is {self.scale}, expected (smallest, largest) within 0.02 to 4"
            )
        unknown = [name for name in self.motions if name not in MOTIONS]
        if unknown or not self.motions:
            raise OptionError(f"motions are {self.motions}, expected some of {', '.join(MOTIONS)}")
        if self.camera not in CAMERAS:
            raise OptionError(f"camera is {self.camera!r}, expected one of {', '.join(CAMERAS)}")
        if self.backgrounds is not None:
            pictures_in(self.backgrounds)
