"""Any number of pictures through networks of any batch size."""

import numpy as np
import pytest

from flowtrack.runtime.batching import MAX_BATCH, run_batched


@pytest.mark.parametrize("fixed", [None, 1, 2, 4, 7])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, MAX_BATCH, MAX_BATCH + 1, 2 * MAX_BATCH + 3])
def test_outputs_are_those_of_each_picture(fixed, count):
    sizes = []

    def run(batch):
        assert batch.flags.c_contiguous
        sizes.append(len(batch))
        return {"sum": batch.sum(axis=(1, 2)), "twice": 2 * batch}

    batch = np.random.default_rng(count).integers(0, 9, (count, 3, 2)).astype(np.float32)
    outputs = run_batched(run, batch, fixed)
    np.testing.assert_array_equal(outputs["sum"], batch.sum(axis=(1, 2)))
    np.testing.assert_array_equal(outputs["twice"], 2 * batch)
    assert outputs["twice"].dtype == np.float32
    if fixed:
        assert sizes == [fixed] * -(-count // fixed)
    else:
        assert max(sizes) <= MAX_BATCH
        assert sum(sizes) == count


def test_what_fills_a_batch_up_is_zero():
    seen = []
    run_batched(lambda batch: seen.append(batch) or {"x": batch}, np.ones((3, 2), np.uint8), 4)
    (batch,) = seen
    assert batch.dtype == np.uint8
    assert batch.tolist() == [[1, 1], [1, 1], [1, 1], [0, 0]]
