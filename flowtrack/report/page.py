"""The page: one file without scripts that loads nothing.

It can be mailed, archived and opened anywhere. It follows the reader's choice of a light or dark
screen, and is light on paper.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np

from flowtrack import __version__
from flowtrack.errors import InputError, OutputError
from flowtrack.report.plot import INKS, Curve, escaped, legend, plot
from flowtrack.structs import ByteArray, checked

_PICTURE_PX = 960  # longer side of an embedded picture
_JPEG_QUALITY = 85


def _inks(theme: int) -> str:
    return ";".join(f"--c{index}:{ink[theme]}" for index, ink in enumerate(INKS))


_STYLE = (
    f""":root{{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#5c6670;--line:#d5dade;
--faint:#e9ecef;--band:#f5f7f8;{_inks(0)}}}
@media screen and (prefers-color-scheme:dark){{:root{{--page:#14171b;--ink:#e4e7ea;--soft:#9aa4ae;
--line:#39414a;--faint:#272d34;--band:#1a1e23;{_inks(1)}}}}}
"""
    + """@page{margin:16mm}
*{box-sizing:border-box}
body{margin:0 auto;padding:2.5rem 1.5rem 4rem;max-width:70rem;background:var(--page);
color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",
"Noto Sans","Liberation Sans",Arial,sans-serif;font-variant-numeric:tabular-nums}
h1{font-size:1.9rem;line-height:1.2;letter-spacing:-.015em;margin:0 0 .6rem;text-wrap:balance}
h2{font-size:1.25rem;line-height:1.3;letter-spacing:-.005em;margin:2.6rem 0 .8rem;
padding-top:.9rem;border-top:1px solid var(--line)}
h1,h2,p,th,figcaption,li{overflow-wrap:anywhere}
p{max-width:44rem;margin:0 0 1rem}
p.lead{font-size:1.1rem;color:var(--soft)}
.wide{overflow-x:auto;margin:1.2rem 0}
table{border-collapse:collapse;font-size:.925rem}
caption{caption-side:top;text-align:left;color:var(--soft);padding-bottom:.5rem}
th,td{padding:.34rem .9rem;text-align:right;white-space:nowrap}
th:first-child{text-align:left;padding-left:.4rem;white-space:normal;min-width:8rem}
thead th{font-weight:600;color:var(--soft);border-bottom:1.5px solid var(--soft);
vertical-align:bottom}
tbody th{font-weight:400}
tbody tr>*{border-bottom:1px solid var(--faint)}
tbody tr:last-child>*{border-bottom-color:var(--line)}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,28rem),1fr));
gap:1.8rem 2rem;margin:1.4rem 0}
.figures.one{grid-template-columns:minmax(0,40rem)}
figure{margin:0;min-width:0}
figure>svg,figure>img{display:block;width:100%;height:auto}
figcaption{font-size:.925rem;color:var(--soft);margin-top:.5rem}
figcaption.above{margin:0 0 .4rem;color:var(--ink);font-weight:600}
ul.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1.3rem;margin:0 0 .3rem;padding:0;
font-size:.875rem}
ul.legend svg{width:28px;height:10px;margin-right:.5rem;vertical-align:middle}
svg text{font-size:12.5px;fill:var(--soft)}
svg .name{fill:var(--ink)}
svg .grid{stroke:var(--faint)}
svg .axis{stroke:var(--soft);fill:none}
svg .curve{fill:none;stroke-width:2;stroke-linejoin:round}
svg circle{stroke:var(--page);stroke-width:1.2}
footer{margin-top:3.5rem;font-size:.8rem;color:var(--soft)}
figure,tr{break-inside:avoid}
h2,caption,figcaption.above{break-after:avoid}
@media(hover:hover){tbody tr:hover{background:var(--band)}}
@media print{:root{color-scheme:light}html{font-size:9.5pt}body{padding:0}
.wide{overflow:visible}th,td{padding:.3rem .5rem}thead th{white-space:normal}
.figures{grid-template-columns:1fr 1fr}svg{overflow:visible}
.figures:not(.one) svg text{font-size:15px}}"""
)


class Report:
    """A page, built from top to bottom.

    Plots and pictures that follow each other stand side by side where the screen is wide enough.
    All text is shown as it is given: nothing in it is read as HTML.
    """

    def __init__(self, title: str, lead: str = "") -> None:
        """An empty page.

        Args:
            title: at the top, and of the window.
            lead: a sentence below it: what was measured, on what, and the result.
        """
        self._title = title
        self._blocks: list[tuple[bool, str]] = []  # whether it is a figure, and its HTML
        self._add(f"<h1>{escaped(title)}</h1>")
        if lead:
            self._add(f'<p class="lead">{escaped(lead)}</p>')

    def _add(self, block: str, *, figure: bool = False) -> None:
        self._blocks.append((figure, block))

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._add(f"<h2>{escaped(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Add a paragraph."""
        self._add(f"<p>{escaped(text)}</p>")

    def table(self, rows: Sequence[Sequence[str]], caption: str = "") -> None:
        """Add a table.

        Args:
            rows: the first is the heading. The first column is text, the others are numbers and
                stand at the right of their columns.
            caption: above it.

        Raises:
            InputError: there is no heading, or rows differ in length.
        """
        if not rows or not rows[0]:
            raise InputError("a table has no heading, expected it as the first row")
        for index, row in enumerate(rows):
            if len(row) != len(rows[0]):
                raise InputError(
                    f"row {index} of a table has {len(row)} cells, expected {len(rows[0])} as in "
                    "its heading"
                )
        head = "".join(f'<th scope="col">{escaped(cell)}</th>' for cell in rows[0])
        body = "\n".join(
            f'<tr><th scope="row">{escaped(row[0])}</th>'
            + "".join(f"<td>{escaped(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in rows[1:]
        )
        said = f"<caption>{escaped(caption)}</caption>" if caption else ""
        self._add(
            f'<div class="wide"><table>{said}<thead><tr>{head}</tr></thead>\n'
            f"<tbody>{body}</tbody></table></div>"
        )

    def plot(self, curves: Sequence[Curve], *, x: str, y: str, caption: str = "") -> None:
        """Add a plot of curves, with a legend where there are several.

        Args:
            curves: drawn in this order, each in a colour and dash of its own.
            x, y: what the axes show, with the unit.
            caption: above it.
        """
        said = f'<figcaption class="above">{escaped(caption)}</figcaption>' if caption else ""
        named = legend(curves) if len(curves) > 1 else ""
        self._add(f"<figure>{said}{named}{plot(curves, x, y)}</figure>", figure=True)

    def picture(self, image: ByteArray, caption: str) -> None:
        """Add a picture, as a JPEG inside the page.

        Args:
            image: (H, W, 3) uint8 BGR; reduced to 960 px on its longer side where it is larger.
            caption: below it.

        Raises:
            InputError: it is no such picture.
        """
        shown = checked("image", image, ("H", "W", 3), np.uint8)
        if min(shown.shape) == 0:
            raise InputError(f"image has shape {shown.shape}, expected at least one pixel")
        height, width = shown.shape[:2]
        ratio = _PICTURE_PX / max(height, width)
        if ratio < 1:
            size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
            shown = np.asarray(cv2.resize(shown, size, interpolation=cv2.INTER_AREA), np.uint8)
        _, jpeg = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        data = base64.b64encode(jpeg.tobytes()).decode("ascii")
        said = escaped(caption)
        self._add(
            f'<figure><img src="data:image/jpeg;base64,{data}" width="{shown.shape[1]}" '
            f'height="{shown.shape[0]}" alt="{said}"><figcaption>{said}</figcaption></figure>',
            figure=True,
        )

    def html(self) -> str:
        """The page."""
        parts: list[str] = []
        for figures, group in groupby(self._blocks, key=lambda block: block[0]):
            blocks = [block for _, block in group]
            if figures:
                kind = "figures one" if len(blocks) == 1 else "figures"
                blocks = [f'<div class="{kind}">', *blocks, "</div>"]
            parts += blocks
        body = "\n".join(parts)
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            # The browser, too, holds the page to loading nothing.
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "style-src 'unsafe-inline'; img-src data:\">\n"
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escaped(self._title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n"
            f"<body>\n{body}\n<footer>flowtrack {__version__}</footer>\n</body>\n</html>\n"
        )

    def write(self, path: str | Path) -> None:
        """Write the page, whole or not at all, by way of a neighbouring file.

        Args:
            path: of the file; its folder is made where it is missing.

        Raises:
            OutputError: it cannot be written.
        """
        path = Path(path)
        partial = path.parent / f".{path.name}.{os.getpid()}.part"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(self.html(), encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            raise OutputError(
                f"{path} cannot be written: {error.strerror or error}; name another file"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
