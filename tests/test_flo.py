"""Flow files: what is written is read back, the bytes are the standard's, damage is named."""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from flowtrack.errors import InputError, OutputError, SourceError
from flowtrack.flo import known, read_flo, write_flo

SHAPES = st.tuples(st.just(2), st.integers(1, 7), st.integers(1, 7))
PIXELS = st.floats(-1e9, 1e9, width=32)


def encoded(uv):
    """The file of a flow, value by value."""
    _, height, width = uv.shape
    data = struct.pack("<f", 202021.25) + struct.pack("<ii", width, height)
    for y in range(height):
        for x in range(width):
            data += struct.pack("<ff", uv[0, y, x], uv[1, y, x])
    return data


@given(arrays.arrays(np.float32, SHAPES, elements=PIXELS))
def test_a_flow_is_written_by_the_standard_and_read_back(uv):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.flo"
        write_flo(path, uv)
        assert path.read_bytes() == encoded(uv)
        back = read_flo(path)
        assert list(Path(folder).iterdir()) == [path]
    assert back.dtype == np.float32
    assert back.flags.c_contiguous
    assert back.flags.writeable
    np.testing.assert_array_equal(back, uv)


@given(
    arrays.arrays(
        np.float32, SHAPES, elements=st.floats(width=32, allow_nan=True, allow_infinity=True)
    )
)
def test_unknown_pixels_stay_unknown(uv):
    mask = known(uv)
    for y, x in np.ndindex(mask.shape):
        u, v = map(float, uv[:, y, x])
        assert mask[y, x] == (abs(u) <= 1e9 and abs(v) <= 1e9)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.flo"
        write_flo(path, uv, mask)
        back = read_flo(path)
    np.testing.assert_array_equal(known(back), mask)
    np.testing.assert_array_equal(back[:, mask], uv[:, mask])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.flo"
    write_flo(path, np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    return path


@given(st.integers(0, 12 + 8 * 12 - 1))
def test_every_shortened_file_is_refused(length):
    whole = encoded(np.zeros((2, 3, 4), np.float32))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.flo"
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="cut off"):
            read_flo(path)


@given(st.binary(min_size=12, max_size=40))
def test_other_bytes_are_refused(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.flo"
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"no \.flo file"):
            read_flo(path)


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        (0, 3, "0 x 3 pixels"),
        (4, -3, "4 x -3 pixels"),
        (2**31 - 1, 2**31 - 1, "2147483647 x 2147483647"),
        (100_000, 1, "1 to 99999"),
        (99_999, 99_999, "has 108 bytes, expected 79998400020"),
        (4, 4, "has 108 bytes, expected 140"),
        (4, 2, "has 108 bytes, expected 76"),
    ],
)
def test_a_size_that_does_not_fit_the_file_is_refused(path, width, height, message):
    data = bytearray(path.read_bytes())
    data[4:12] = struct.pack("<ii", width, height)
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_flo(path)


def test_the_other_byte_order_is_no_flo_file(path):
    path.write_bytes(path.read_bytes()[:4][::-1] + path.read_bytes()[4:])
    with pytest.raises(InputError, match="HEIP"):
        read_flo(path)


def test_a_missing_file_is_a_source_error(tmp_path):
    with pytest.raises(SourceError, match=r"no\.flo: No such file"):
        read_flo(tmp_path / "no.flo")
    with pytest.raises(SourceError, match="Is a directory"):
        read_flo(tmp_path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e10])
def test_a_flow_that_is_not_finite_is_refused_and_the_old_file_stays(path, bad):
    before = path.read_bytes()
    uv = np.zeros((2, 3, 4), np.float32)
    uv[1, 2, 3] = bad
    with pytest.raises(InputError, match="at x 3, y 2"):
        write_flo(path, uv)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("uv", "valid", "message"),
    [
        (np.zeros((3, 4, 2), np.float32), None, "expected"),
        (np.zeros((2, 0, 4), np.float32), None, "height and width of 1 to 99999"),
        (np.zeros((2, 1, 100_000), np.float32), None, "height and width of 1 to 99999"),
        (np.zeros((2, 3, 4), np.float32), np.ones((4, 3), bool), "valid has shape"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(tmp_path, uv, valid, message):
    with pytest.raises(InputError, match=message):
        write_flo(tmp_path / "a.flo", uv, valid)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        write_flo(tmp_path / "no" / "a.flo", np.zeros((2, 1, 1), np.float32))


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(path, monkeypatch, failure):
    before = path.read_bytes()

    def fail(descriptor):
        raise failure

    monkeypatch.setattr(os, "fsync", fail)
    expected = OutputError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write_flo(path, np.ones((2, 3, 4), np.float32))
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["a.flo"]
