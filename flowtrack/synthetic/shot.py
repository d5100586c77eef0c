"""How a clip is filmed: where the camera stands and how it moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flowtrack.synthetic.rendering.camera import Camera

Floats = npt.NDArray[np.float64]

CAMERAS = ("static", "handheld", "pan", "dolly")
"""Held still; in the hand; turning; moving sideways."""

_SHAKES_HZ = np.array([0.45, 0.9, 1.7, 3.1])


@dataclass(frozen=True)
class Shot:
    """A camera over time.

    Attributes:
        kind: one of `CAMERAS`.
        size: width and height of the picture.
        height_m: above the ground.
        pitch: radians, negative looks down.
        focal_px: focal length.
        speed: radians (pan) or metres (dolly) a second at the middle of the clip.
        seconds: length of the clip.
        phases: (5, 4) of the shaking of place (3), yaw and pitch.
    """

    kind: str
    size: tuple[int, int]
    height_m: float
    pitch: float
    focal_px: float
    speed: float
    seconds: float
    phases: Floats

    @classmethod
    def random(
        cls, kind: str, size: tuple[int, int], seconds: float, rng: np.random.Generator
    ) -> Shot:
        """A camera by chance that looks slightly down on people."""
        height = float(rng.uniform(1.2, 2.1))
        view = float(rng.uniform(0.65, 0.85))
        focal = size[1] / 2 / np.tan(view / 2)
        pitch = float(rng.normal(-0.09, 0.03) - 0.09 * (height - 1.2))
        speed = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.6, 1.0))
        speed *= {"pan": 0.10, "dolly": 0.5}.get(kind, 0.0)
        phases = rng.uniform(0, 2 * np.pi, (5, len(_SHAKES_HZ)))
        return cls(kind, size, height, pitch, float(focal), speed, seconds, phases)

    def at(self, time_s: float) -> Camera:
        """The camera at a time."""
        shake = np.zeros(5)
        if self.kind != "static":
            waves = np.sin(2 * np.pi * _SHAKES_HZ * time_s + self.phases) / (1 + _SHAKES_HZ)
            strength = 1.0 if self.kind == "handheld" else 0.25
            shake = strength * waves.sum(axis=1) * np.array([0.03, 0.02, 0.03, 0.012, 0.009])
        moved = self.speed * (time_s - self.seconds / 2)
        place = np.array([moved if self.kind == "dolly" else 0.0, self.height_m, 0.0]) + shake[:3]
        yaw = (moved if self.kind == "pan" else 0.0) + shake[3]
        pitch = self.pitch + shake[4]
        ahead = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), -np.cos(yaw) * np.cos(pitch)])
        return Camera.looking(place, place + ahead, self.focal_px, self.size)
