"""Functions in machine code: what NumPy would take many passes for, without Python's lock."""

from collections.abc import Callable

from numba import njit


def compiled(function: Callable) -> Callable:
    """The function, compiled when it is first called; the machine code is kept where that can be.

    Nothing is reassociated and no product fused with a sum: every processor comes to the same bits.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no directory may be written to: each process compiles it anew
        return njit(**options)(function)
