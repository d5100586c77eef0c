"""Algorithm 1 of the paper: numba kernels and the state they work on."""
