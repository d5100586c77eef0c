"""`flowtrack eval coco`: average precision and recall of poses, as COCO counts them."""

from __future__ import annotations

from flowtrack.cli.console import command
from flowtrack.cli.eval_pictures import (
    AsJson,
    BoxesFrom,
    BundlePath,
    Device,
    Flip,
    Html,
    Images,
    Out,
    Partial,
    Request,
    Results,
    Synthetic,
    Threads,
    Truth,
    evaluate_request,
)


@command
def coco(
    truth: Truth = None,
    results: Results = None,
    images: Images = None,
    partial: Partial = False,
    html: Html = None,
    as_json: AsJson = False,
    bundle: BundlePath = None,
    boxes: BoxesFrom = None,
    flip: Flip = None,
    synthetic: Synthetic = None,
    out: Out = None,
    device: Device = "auto",
    threads: Threads = 0,
) -> None:
    """Measure poses: COCO's keypoint AP, of a result file or of a bundle on pictures.

    The numbers are pycocotools'. A bundle's poses become results as in Simple Baselines: score =
    box score x mean of the joint scores above 0.2, and of two poses with an OKS above 0.9 the
    better one stays.
    """
    evaluate_request(
        Request(
            kind="keypoints",
            truth=truth,
            results=results,
            images=images,
            partial=partial,
            synthetic=synthetic,
            bundle=bundle,
            out=out,
            device=device,
            threads=threads,
            as_json=as_json,
            html=html,
            boxes=boxes,
            flip=flip,
        )
    )
