"""The networks of a bundle, loaded once for whatever the tracker will be set to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import cv2

from flowtrack import __version__
from flowtrack.errors import OptionError
from flowtrack.runtime.bundle import Bundle, open_bundle
from flowtrack.runtime.detector import Detector
from flowtrack.runtime.flow import FlowEstimator
from flowtrack.runtime.manifest import Manifest
from flowtrack.runtime.pipeline import Pipeline, open_pipeline
from flowtrack.runtime.pose import PoseEstimator
from flowtrack.tracker.options import TrackerOptions

Part = Literal["detector", "pose", "flow"]

_WITHOUT_FLOW = TrackerOptions(similarity="bbox", propagate=False)


@dataclass(frozen=True)
class Networks:
    """The loaded networks of a bundle.

    Attributes:
        name: of the bundle, for tables.
        manifest: of the bundle.
        detector, pose, flow: as `Pipeline` takes them; no flow if the bundle has none.
        device: where they run, and why there.
    """

    name: str
    manifest: Manifest
    detector: Detector
    pose: PoseEstimator
    flow: FlowEstimator | None
    device: str

    def check(self, options: TrackerOptions) -> None:
        """Refuse options that these networks cannot serve.

        Raises:
            OptionError: they need flow and there is none.
        """
        if options.uses_flow and self.flow is None:
            raise OptionError(
                f"{self.name} has no optical flow, and similarity {options.similarity!r} "
                f"{'with' if options.propagate else 'without'} propagation needs it; add "
                "`--flow dis` when you make the bundle"
            )

    def pipeline(self, options: TrackerOptions) -> Pipeline:
        """The pipeline that users run, with these options.

        Raises:
            OptionError: they need flow and there is none.
        """
        self.check(options)
        return Pipeline(self.detector, self.pose, self.flow, options, self.device)

    def fingerprint(self, part: Part) -> str:
        """What the results of a network depend on, besides what it is shown.

        Its file's hash, how it is fed and read, where it runs, and the versions of what does it.
        """
        spec = getattr(self.manifest, part)
        facts = asdict(spec)
        if spec.file is not None:  # where it comes from changes nothing
            del facts["file"]["source"], facts["file"]["parity"], facts["file"]["path"]
        facts |= {
            "part": part,
            "skeleton": self.manifest.skeleton,
            "device": self.pose.engine.device,
            "opencv": cv2.__version__,
            "flowtrack": __version__,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def open_networks(bundle: Bundle | str | Path, device: str = "auto", threads: int = 0) -> Networks:
    """Load the networks of a bundle; arguments and errors as of `open_pipeline`."""
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    options = TrackerOptions() if opened.manifest.flow is not None else _WITHOUT_FLOW
    loaded = open_pipeline(opened, options, device, threads)
    return Networks(
        opened.path.resolve().stem,
        opened.manifest,
        loaded.detector,
        loaded.pose,
        loaded.flow,
        loaded.device,
    )
