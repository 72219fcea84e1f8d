"""Threads of the linear algebra behind NumPy and SciPy."""

from __future__ import annotations

import os


def one_thread_for_small_matrices() -> None:
    """Keep OpenBLAS to one thread, unless the user says otherwise; before NumPy is imported.

    Its threads wait for each other without rest: while another program runs, factorising a matrix
    of 512 rows takes fifty times longer with two threads than with one, and relaxing a cell of
    four atoms, with ASE's logarithms of 3 x 3 matrices, ten times longer.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
