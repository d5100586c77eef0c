"""`flowtrack eval detector`: average precision and recall of boxes around people, as COCO does."""

from __future__ import annotations

from flowtrack.cli.console import command
from flowtrack.cli.eval_pictures import (
    AsJson,
    BundlePath,
    Device,
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
def detector(
    truth: Truth = None,
    results: Results = None,
    images: Images = None,
    partial: Partial = False,
    html: Html = None,
    as_json: AsJson = False,
    bundle: BundlePath = None,
    synthetic: Synthetic = None,
    out: Out = None,
    device: Device = "auto",
    threads: Threads = 0,
) -> None:
    """Measure a person detector: COCO's box AP, of a result file or of a bundle on pictures.

    The numbers are pycocotools'; of results and truth with many categories, people count alone. A
    bundle's boxes are taken from its detector's score floor on.
    """
    evaluate_request(
        Request(
            kind="boxes",
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
        )
    )
