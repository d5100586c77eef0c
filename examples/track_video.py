"""Track people in a video from Python, without the command line.

python examples/track_video.py my.bundle clip.mp4
"""

from __future__ import annotations

import sys

from flowtrack.runtime import open_pipeline
from flowtrack.runtime.video import open_source


def main(bundle: str, video: str) -> None:
    """Print who is where, frame by frame."""
    pipeline = open_pipeline(bundle, device="auto")
    with open_source(video) as source:
        for _frame, tracked in pipeline.run(source):
            for row, person in enumerate(tracked.tracks.id):
                nose = tracked.poses.xy[row, pipeline.skeleton.index("nose")]
                print(f"{tracked.time_s:8.3f} s  person {person}  nose at {nose.round(1)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
