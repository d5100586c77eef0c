"""Fingerprints: what is kept beside a plan, what keeps a plan from being loaded, and the remedy."""

import hashlib
import json
import shutil
import zipfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.errors import BundleError, EngineError, OutputError
from flowtrack.runtime.bundle import open_bundle, write_bundle
from flowtrack.runtime.plans import (
    Fingerprint,
    Machine,
    PlanRecord,
    differences,
    plan_member,
    read_plan_file,
    record_member,
    refuse_difference,
)
from tests.support.graphs import tiny_bundle

HERE = Machine("10.16.1.11", "RTX A6000", "8.6", "Linux x86_64")
POSE = {"data": ((4, 3, 64, 48),) * 3}


def fingerprint(onnx="0" * 64, **changes):
    return Fingerprint(onnx, HERE, "fp32", (POSE,), ("data",), **changes)


def record(data, onnx="0" * 64, **changes):
    return PlanRecord(fingerprint(onnx), hashlib.sha256(data).hexdigest(), **changes)


def test_a_record_is_read_as_it_was_written():
    written = record(b"plan", comparison={"mean_oks": 0.99}, tensors={"data": "float32 ?x3"})
    assert PlanRecord.from_json(written.to_json(), "x") == written
    assert written.fingerprint.buckets == (4,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"profiles": ()}, "profiles has 0 items, expected at least 1"),
        ({"onnx_sha256": "abc"}, "onnx_sha256 is 'abc', expected 64 hexadecimal digits"),
        ({"level": 6}, "level is 6, expected at most 5"),
        ({"workspace_gb": 0.0}, "workspace_gb is 0.0, expected more than 0"),
        ({"profiles": ({"data": ((1, 3), (2, 3))},)}, "expected the least, the tuned and the"),
        ({"profiles": ({"data": ((2, 3), (1, 3), (4, 3))},)}, "each axis ascending"),
        ({"profiles": ({"data": ((0, 3), (1, 3), (4, 3))},)}, "each axis ascending"),
        ({"profiles": ({"data": ((1,), (1, 3), (4, 3))},)}, "each axis ascending"),
        ({"profiles": ({"data": ((1, 3), (2, 3), (4, 3))},)}, "expected one size per profile"),
        ({"batched": ("other",)}, "expected one size per profile"),
    ],
)  # fmt: skip
def test_nonsense_in_a_fingerprint_is_refused(change, message):
    with pytest.raises(BundleError, match=message):
        replace(fingerprint(), **change)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace('"sha256"', '"sha255"'),
        lambda text: text.replace('"schema_version": 1', '"schema_version": 2'),
        lambda text: text.replace('"fp32"', '"fp31"'),
        lambda text: text.replace('"10.16.1.11"', '"ten"'),
        lambda text: "[]",
        lambda text: "[" * 100_000,
    ],
)
def test_a_damaged_record_is_refused_with_the_remedy(damage):
    with pytest.raises(BundleError, match=r"^here.*flowtrack compile BUNDLE --rebuild"):
        PlanRecord.from_json(damage(record(b"").to_json()), "here")


@pytest.mark.parametrize(
    ("options", "here", "expected"),
    [
        ({}, {}, []),
        ({}, {"tensorrt": "10.16.1.12"}, ["TensorRT"]),
        ({}, {"gpu": "RTX 4090", "compute_capability": "8.9"}, ["GPU", "compute capability"]),
        ({}, {"gpu": "RTX A5000"}, ["GPU"]),
        ({}, {"platform": "Windows AMD64"}, ["platform"]),
        ({"hardware_compatible": True}, {"gpu": "RTX 4090", "compute_capability": "8.9"}, []),
        ({"hardware_compatible": True}, {"gpu": "B200", "compute_capability": "10.0"}, []),
        ({"hardware_compatible": True}, {"gpu": "T4", "compute_capability": "7.5"}, ["GPU"]),
        ({"hardware_compatible": True}, {"tensorrt": "11.4.0.106"}, ["TensorRT"]),
        ({"version_compatible": True}, {"tensorrt": "10.16.2.1"}, []),
        ({"version_compatible": True}, {"tensorrt": "10.20.0.1"}, []),
        ({"version_compatible": True}, {"tensorrt": "10.9.0.34"}, ["TensorRT"]),
        ({"version_compatible": True}, {"tensorrt": "11.4.0.106"}, []),
        ({"version_compatible": True}, {"tensorrt": "12.0.0.1"}, ["TensorRT"]),
        ({"version_compatible": True}, {"tensorrt": "9.3.0.1"}, ["TensorRT"]),
        ({"version_compatible": True}, {"gpu": "RTX A5000"}, ["GPU"]),
    ],
)  # fmt: skip
def test_what_keeps_a_plan_from_a_machine(options, here, expected):
    found = differences(fingerprint(**options), replace(HERE, **here))
    assert [difference.what for difference in found] == expected


def test_the_error_lists_every_difference_and_the_remedy():
    other = Machine("11.4.0.106", "H100", "9.0", "Linux aarch64")
    with pytest.raises(EngineError) as caught:
        refuse_difference(fingerprint(), other)
    message = str(caught.value)
    for own, here in zip(vars(HERE).values(), vars(other).values(), strict=True):
        assert f"the plan has {own}, this machine has {here}" in message
    assert message.endswith("`flowtrack compile BUNDLE --rebuild`, or take device `cuda`")
    refuse_difference(fingerprint(), HERE)


versions = st.tuples(*[st.integers(0, 30)] * 3).map(lambda parts: ".".join(map(str, parts)))


@given(st.sampled_from([True, False]), versions, versions)
def test_a_plan_never_runs_on_an_older_tensorrt(compatible, built, here):
    own = replace(
        fingerprint(), version_compatible=compatible, machine=replace(HERE, tensorrt=built)
    )
    fits = not differences(own, replace(HERE, tensorrt=here))
    older = [int(part) for part in here.split(".")] < [int(part) for part in built.split(".")]
    assert not (fits and older)
    assert fits or built != here


@pytest.fixture(params=["bundle", "bundle.zip"])
def place(request, tmp_path):
    """A bundle with a plan for its pose network."""
    manifest, files = tiny_bundle()
    sha256 = manifest.pose.file.sha256
    plan = {plan_member("pose"): b"plan", record_member("pose"): record(b"plan", sha256)}
    files |= {plan_member("pose"): b"plan"}
    files |= {record_member("pose"): plan[record_member("pose")].to_json().encode()}
    write_bundle(tmp_path / request.param, manifest, files)
    return tmp_path / request.param


def change(place, member, content):
    """Replace a file of a bundle, or remove it."""
    folder = place
    if place.suffix == ".zip":
        folder = place.with_name("unpacked")
        with zipfile.ZipFile(place) as archive:
            archive.extractall(folder)
        place.unlink()
    (folder / member).unlink()
    if content is not None:
        (folder / member).write_bytes(content)
    if folder != place:
        shutil.make_archive(str(place.with_suffix("")), "zip", folder)


def test_a_bundle_gives_its_plans(place):
    bundle = open_bundle(place)
    assert list(bundle.plans()) == ["pose"]
    plan = bundle.read_plan("pose")
    assert (plan.data, plan.record) == (b"plan", bundle.plans()["pose"])
    bundle.verify()
    with pytest.raises(BundleError, match=r"engines/detector\.plan is missing; .* --rebuild"):
        bundle.read_plan("detector")


def test_a_changed_byte_is_found(place):
    change(place, "engines/pose.plan", b"plam")
    bundle = open_bundle(place)
    with pytest.raises(BundleError, match=r"engines/pose\.plan has sha256 .* --rebuild"):
        bundle.read_plan("pose")
    with pytest.raises(BundleError, match="changed or damaged"):
        bundle.verify()


def test_a_plan_of_another_graph_is_found(place):
    other = record(b"plan", "1" * 64).to_json().encode()
    change(place, "engines/pose.plan.json", other)
    message = r"from a graph with sha256 1111.*, the bundle's graph has .* --rebuild"
    with pytest.raises(BundleError, match=message):
        open_bundle(place).read_plan("pose")


@pytest.mark.parametrize("member", ["engines/pose.plan", "engines/pose.plan.json"])
def test_half_a_plan_is_no_plan(place, member):
    change(place, member, None)
    with pytest.raises(BundleError, match=f"{member} is missing"):
        open_bundle(place).verify()


def test_a_bundle_is_not_written_with_a_wrong_plan(place, tmp_path):
    bundle = open_bundle(place)
    files = bundle.contents()
    with pytest.raises(BundleError, match="changed or damaged"):
        write_bundle(tmp_path / "new", bundle.manifest, files | {"engines/pose.plan": b"other"})
    assert not (tmp_path / "new").exists()
    with pytest.raises(BundleError, match=r"the files are .*other\.onnx"):
        write_bundle(tmp_path / "new", bundle.manifest, files | {"other.onnx": b""})
    with pytest.raises((BundleError, OutputError)):
        write_bundle(tmp_path / "new", bundle.manifest, files | {"engines/../../x": b""})
    assert not (tmp_path.parent / "x").exists()


def test_everything_below_engines_is_kept_when_a_bundle_is_written_again(place, tmp_path):
    bundle = open_bundle(place)
    copied = write_bundle(
        tmp_path / "copy", bundle.manifest, bundle.contents() | {"engines/notes.txt": b"mine"}
    )
    assert copied.read_plan("pose") == bundle.read_plan("pose")
    again = write_bundle(tmp_path / "again.zip", copied.manifest, copied.contents())
    assert again.contents() == copied.contents()
    assert again.contents()["engines/notes.txt"] == b"mine"


def test_a_bundle_without_plans_has_none(tmp_path):
    manifest, files = tiny_bundle(flow=True)
    bundle = write_bundle(tmp_path / "plain", manifest, files)
    assert bundle.plans() == {}
    assert bundle.contents() == files


def test_a_plan_by_itself_comes_with_the_file_beside_it(tmp_path):
    path = tmp_path / "pose.plan"
    with pytest.raises(BundleError, match=r"no file .*pose\.plan"):
        read_plan_file(path)
    path.write_bytes(b"plan")
    with pytest.raises(BundleError, match=r"no file .*pose\.plan\.json"):
        read_plan_file(path)
    beside = tmp_path / "pose.plan.json"
    beside.write_text(record(b"plan").to_json())
    assert json.loads(beside.read_text())["sha256"] == hashlib.sha256(b"plan").hexdigest()
    assert read_plan_file(path).record == record(b"plan")
    path.write_bytes(b"other")
    with pytest.raises(BundleError, match="changed or damaged"):
        read_plan_file(path)
