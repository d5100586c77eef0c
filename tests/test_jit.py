"""Kernels that count are rounded as numpy rounds."""

import numpy as np

from flowtrack.jit import exact_jit


@exact_jit
def _products(a, b, c, unit, out):
    for i in range(a.shape[0]):
        out[i] = (a[i] * b[i] + c[i]) / unit


def test_exact_kernels_round_every_operation_as_numpy_does():
    a, b, c = np.random.default_rng(1).uniform(-1, 1, (3, 2000))
    out = np.empty(2000)
    _products(a, b, c, 0.3, out)
    np.testing.assert_array_equal(out, (a * b + c) / 0.3)
    # With the product and the sum in one step, and a reciprocal for the quotient, they differ.
    exact = np.array([float(np.longdouble(x) * y + z) for x, y, z in zip(a, b, c, strict=True)])
    assert (exact * (1 / 0.3) != out).sum() > 100
