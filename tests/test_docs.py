"""Every `sh` and then every `python` block of the README and of docs/ runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.puppets.clip import ClipOptions, render, write
from examples.puppets.networks import build

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
}


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the networks, the clip and the bundle that the pages speak of."""
    import av

    folder = tmp_path_factory.mktemp("docs")
    networks = build(folder)
    for part in (networks.detector, networks.pose):
        assert (folder / part.file.path).exists()
    options = ClipOptions(frames=12)
    write(folder, options, name="clip")
    with av.open(folder / "clip.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = options.width, options.height, "yuv420p"
        stream.options = {"crf": "10"}
        for image, _ in render(options):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    [make] = re.findall(r"^flowtrack bundle my\.bundle .*$", (ROOT / "README.md").read_text(), re.M)
    subprocess.run(make, shell=True, cwd=folder, env=ENVIRONMENT, check=True)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run(page, workplace):
    programs = [["bash", "-euo", "pipefail", "-c", block] for block in blocks(page, "sh")]
    programs += [[sys.executable, "-c", block] for block in blocks(page, "python")]
    for program in programs:
        done = subprocess.run(
            program, cwd=workplace, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{program[-1]}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
