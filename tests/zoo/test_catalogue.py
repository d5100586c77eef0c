"""The catalogue: what it promises of public networks, and that a wrong one is refused."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pytest

from flowtrack.errors import InputError, OptionError
from flowtrack.skeleton import SKELETONS
from flowtrack.zoo.catalogue import PACKAGED, load_catalogue

CATALOGUE = load_catalogue()
NETWORKS = [pytest.param(network, id=name) for name, network in CATALOGUE.networks.items()]


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_says_what_there_is_to_know(network):
    file = network.file
    assert file.url.startswith("https://")
    assert network.home.startswith("https://")
    assert network.licence
    assert network.trained_on
    assert 20 < network.accuracy.value < 90
    # A hash in a .pth file's name is the publisher's word; in a .zip file's it is not the zip's.
    stated = re.search(r"-([0-9a-f]{8})_\d{8}\.pth$", file.url)
    assert (file.sha256_from == "publisher") == (stated is not None)
    if stated:
        assert file.sha256 == stated[1]
    else:
        assert len(file.sha256 or file.member_sha256) == 64
    suffixes = {"onnx": ".onnx", "zip": ".zip", "checkpoint": ".pth"}
    assert PurePosixPath(file.name).suffix == suffixes[file.format]
    if network.pose is not None:
        assert network.pose.skeleton in SKELETONS
        size = re.search(r"(\d+)x(\d+)", file.name)
        assert size is not None
        assert (network.input.height, network.input.width) == (int(size[1]), int(size[2]))


def test_feeding_is_that_of_the_publishers():
    """YOLOX takes BGR as it is; RTMPose RGB with ImageNet's mean and deviation, times 255."""
    for network in CATALOGUE.networks.values():
        if network.detector is not None:
            assert network.input.color == "bgr"
            assert network.input.mean == (0.0, 0.0, 0.0)
        else:
            assert network.input.color == "rgb"
        if network.name.startswith("rtmpose"):
            means = [value / 255 for value in network.input.mean]
            assert means == pytest.approx([0.485, 0.456, 0.406])
            assert [v / 255 for v in network.input.std] == pytest.approx([0.229, 0.224, 0.225])


def test_names_lead_to_networks():
    paper = CATALOGUE.select(["paper"])
    assert [network.part for network in paper] == ["detector", "pose"]
    assert CATALOGUE.select(["yolox-m", "paper"]) == paper
    with pytest.raises(OptionError, match="did you mean rtmpose-m"):
        CATALOGUE.select(["rtmpose_m"])
    with pytest.raises(OptionError, match="known are paper"):
        CATALOGUE.select(["???"])


def test_sizes_are_bounded():
    sizes = {name: network.file for name, network in CATALOGUE.networks.items()}
    assert sizes["yolox-nano"].limit_bytes == sizes["yolox-nano"].size_bytes == 3659407
    checkpoint = sizes["td-hm-res50-256x192"]
    assert checkpoint.size_bytes is None
    assert 136e6 < checkpoint.limit_bytes < 300e6


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('url = "https://github.com', 'url = "file://github.com', "yolox-nano.file.url"),
        ("size_bytes = 3659407", "size_bytes = 0", "size_bytes"),
        ("size_bytes = 3659407", "", "about_mb"),
        ('sha256 = "c789', 'sha256 = "xyz', "sha256"),
        ('sha256_from = "others"', 'sha256_from = "nobody"', "yolox-nano.*nobody"),
        ('sha256_from = "others"', 'sha256_from = "me"', "yolox-nano.*'me'"),
        ('format = "onnx"', 'format = "zip"', "yolox-nano.*member"),
        ('format = "onnx"', 'format = "checkpoint"', "converted"),
        ('part = "detector"', 'part = "pose"', "yolox-nano.*part"),
        ('decode = "yolox"', 'decode = "yolo"', "decode"),
        ("height = 416", "height = -1", "height"),
        ('licence = "Apache-2.0"', 'license = "Apache-2.0"', "unknown entries"),
        ("[networks.yolox-nano]", "[networks.Yolox_Nano]", "small letters"),
        ('detector = "yolox-m"', 'detector = "rtmpose-m"', "combinations.paper"),
        ("[combinations.paper]", "[combinations.yolox-s]", "a network and a combination"),
        ("[combinations.paper]", "[presets.paper]", "presets"),
        ("[combinations.paper]", "[combinations.paper", "cannot be read"),
    ],
)
def test_a_wrong_catalogue_is_refused_by_entry(tmp_path, old, new, message):
    text = PACKAGED.read_text()
    assert old in text
    path = tmp_path / "other.toml"
    path.write_text(text.replace(old, new, 1).replace("[networks.yolox-nano.file]", (
        "[networks.Yolox_Nano.file]" if "Yolox" in new else "[networks.yolox-nano.file]"
    )))  # fmt: skip
    with pytest.raises(InputError, match=message) as caught:
        load_catalogue(path)
    assert str(path) in str(caught.value)


def test_a_catalogue_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_catalogue(tmp_path / "none.toml")


def test_the_example_of_the_documentation_is_a_catalogue(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "networks.md"
    (example,) = re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.M | re.S)
    (tmp_path / "own.toml").write_text(example)
    (network,) = load_catalogue(tmp_path / "own.toml").networks.values()
    assert (network.name, network.file.sha256_from) == ("our-pose", "nobody")
