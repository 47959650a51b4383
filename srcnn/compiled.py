"""Functions compiled to machine code, which run in one pass and without Python's lock."""

from collections.abc import Callable

from numba import njit


def compiled(function: Callable) -> Callable:
    """The function, compiled at its first call; the machine code is cached where possible.

    No operations are reassociated or fused, so that every processor computes the same bits.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no directory is writable: each process compiles the function
        return njit(**options)(function)
