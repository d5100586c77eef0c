"""Arrays remembered: the same back, whatever the budget, and in a later process from a cache."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.errors import OutputError
from flowtrack.evaluation.deployed.memory import CACHE_FILE, Memory


def arrays(seed):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(seed % 3, 4)).astype(np.float32),
        rng.integers(0, 9, seed % 5),
        np.array(rng.random()),
    )


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 30)), max_size=30),
    st.sampled_from([0, 30, 100, 10_000]),
    st.booleans(),
)
def test_it_is_a_dictionary(tmp_path_factory, steps, budget, cached):
    """Against a plain dict; what is known is put once, as recordings do."""
    expected = {}
    cache = tmp_path_factory.mktemp("cache") if cached else None
    with Memory(cache, budget) as memory:
        for put, key, seed in steps:
            name = f"key {key}"
            if put and name not in expected:
                expected[name] = arrays(seed)
                memory.put(name, expected[name])
            found = memory.get(name)
            if name in expected:
                assert_same(found, expected[name])
            else:
                assert found is None


def test_what_is_beyond_the_budget_lies_in_a_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    big = np.zeros(1000, np.uint8)
    with Memory(budget_bytes=2500) as memory:
        memory.put("a", (big,))
        memory.put("b", (big + 1,))
        assert not list(tmp_path.iterdir())
        memory.put("c", (big + 2,))
        (folder,) = tmp_path.iterdir()
        assert (folder / CACHE_FILE).is_file()
        for key, value in (("a", 0), ("b", 1), ("c", 2), ("a", 0)):
            assert (memory.get(key)[0] == value).all()
        assert memory._bytes <= 2500
    assert not list(tmp_path.iterdir())


def test_a_cache_outlives_its_memory(tmp_path):
    with Memory(tmp_path / "new" / "cache") as memory:
        memory.put("a", arrays(7))
    with Memory(tmp_path / "new" / "cache", budget_bytes=0) as memory:
        assert_same(memory.get("a"), arrays(7))
        assert memory.get("b") is None
    with Memory() as memory:
        assert memory.get("a") is None


def test_a_damaged_cache_is_named(tmp_path):
    (tmp_path / CACHE_FILE).write_bytes(b"something else" * 1000)
    with pytest.raises(OutputError, match=rf"{CACHE_FILE} cannot be used as a recording: .*Remove"):
        Memory(tmp_path)


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(OutputError, match="cannot use the cache folder"):
        Memory(tmp_path / "cache")
