"""Rendered people with exact poses, ids, boxes and dense flow; numpy and OpenCV only."""

from flowtrack.synthetic.clip import Clip, render_clip
from flowtrack.synthetic.clip_options import ClipOptions
from flowtrack.synthetic.coco import write_coco, write_scenes
from flowtrack.synthetic.people.motions import MOTIONS
from flowtrack.synthetic.posetrack import posetrack17, posetrack18
from flowtrack.synthetic.scene import SceneOptions, render_scene
from flowtrack.synthetic.shot import CAMERAS
from flowtrack.synthetic.truth import SyntheticFrame
from flowtrack.synthetic.writing import ClipFiles, write_clip

__all__ = [
    "CAMERAS",
    "MOTIONS",
    "Clip",
    "ClipFiles",
    "ClipOptions",
    "SceneOptions",
    "SyntheticFrame",
    "posetrack17",
    "posetrack18",
    "render_clip",
    "render_scene",
    "write_clip",
    "write_coco",
    "write_scenes",
]
