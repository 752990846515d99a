"""The fused SSIM kernel for processors. Sixteen reference images lie side by side in lanes, so that every inner loop is
the same arithmetic on neighbouring numbers, in vector instructions; their maps stay in the cache for all queries.
"""

import pickle
from contextlib import suppress
from hashlib import sha256

import numpy as np
from numba import njit
from numba.core.caching import IndexDataCacheFile

from robexpl.metrics.ssim import LANES
from robexpl.progress import warn

OPTIONS = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True}
_jit = njit(**OPTIONS)


class _Sealed(IndexDataCacheFile):
    """numba's files of machine code, with checksums, which its own lack: damaged code may do anything."""

    def _save_data(self, name, data):
        content = self._dump(data)
        super()._save_data(name, (content, sha256(content).digest()))

    def _load_data(self, name):
        content, digest = super()._load_data(name)
        return pickle.loads(content if sha256(content).digest() == digest else b"")


def _kept(function):
    try:
        compiled = njit(cache=True, **OPTIONS)(function)
        compiled._cache._cache_file.__class__ = _Sealed
        return compiled
    except (RuntimeError, AttributeError) as error:  # as in a read-only installation: compile in each process
        warn(f"numba has no place for machine code and compiles it in each process ({type(error).__name__})")
        return njit(**OPTIONS)(function)


def fill(*arguments):
    """Call `pairs`; where its machine code cannot be read or kept, say so in one line and compile without files."""
    try:
        pairs(*arguments)
    except Exception as error:  # whatever damaged bytes make of a reader
        kind = type(error).__name__
        warn(f"numba cannot read or keep machine code in {pairs.stats.cache_path} ({kind}); compiled anew")
        pairs._cache.disable()
        with suppress(Exception):
            pairs._cache.flush()  # the next process may keep its own
        pairs(*arguments)


@_jit
def _window(taps, z0, z1, z2, z3, z4, z5, z6, z7, z8, z9, z10, out):
    """Weigh eleven lines by the symmetric window, whose first six weights are given."""
    w0, w1, w2, w3, w4, w5 = taps
    for j in range(len(out)):
        outer = w0 * (z0[j] + z10[j]) + w1 * (z1[j] + z9[j]) + w2 * (z2[j] + z8[j])
        out[j] = outer + w3 * (z3[j] + z7[j]) + w4 * (z4[j] + z6[j]) + w5 * z5[j]


@_jit
def _product(values, others, places, out):
    """Multiply a row of one query with that of sixteen references, extended at both ends."""
    for c in range(len(places)):
        place = np.uint64(places[c])  # unsigned: no place from the end, so no test for one
        value = values[place]
        for lane in range(LANES):
            out[c, lane] = value * others[place, lane]


@_jit
def _add(filtered, shifted, mean, variance, centre, other_mean, other_variance, c1, c2, total):
    """Add the SSIM at the pixels of one row, of one query and sixteen references, to their totals."""
    two = np.float32(2)
    for c in range(len(mean)):
        square, twice, spread, shift = mean[c] * mean[c] + c1, two * mean[c], variance[c] + c2, shifted[c]
        for lane in range(LANES):
            other = other_mean[c, lane]
            covariance = filtered[c, lane] - shift * (other - centre[lane])
            top = (two * covariance + c2) * (twice * other + c1)
            total[c, lane] += top / ((square + other * other) * (spread + other_variance[c, lane]))


@_kept
def pairs(query, bank, place_rows, place_columns, margin, taps, c1, c2, scratch, result):
    """Fill result (n, blocks * LANES) with the mean SSIM of every pair, `margin` border pixels left out.

    query: pixels less centre, mean less centre, mean, variance, each (n, h, w); bank: pixels less centre, mean,
    variance, each (blocks, h, w, LANES), and centre (blocks, LANES); place_*: which pixel stands at each place of an
    extended line; taps: six weights; scratch: (h, w * LANES), (w + 10, LANES), (w, LANES), (w, LANES). All float32.
    """
    pixels, shifted, mean, variance = query
    other_pixels, other_mean, other_variance, centre = bank
    filtered, line, covered, total = scratch
    n, height, width = pixels.shape
    first, last = margin, width - margin
    s, z, row = line.reshape(-1), filtered, covered.reshape(-1)
    for block in range(len(centre)):
        for q in range(n):
            for r in range(height):  # the product of both images, filtered along its rows
                _product(pixels[q, r], other_pixels[block, r], place_columns, line)
                _window(
                    taps, s, s[LANES:], s[2 * LANES :], s[3 * LANES :], s[4 * LANES :], s[5 * LANES :], s[6 * LANES :],
                    s[7 * LANES :], s[8 * LANES :], s[9 * LANES :], s[10 * LANES :], filtered[r],
                )  # fmt: skip
            total[:] = 0
            for r in range(margin, height - margin):  # along its columns, and at once into the score
                p = place_rows[r:]
                _window(
                    taps, z[p[0]], z[p[1]], z[p[2]], z[p[3]], z[p[4]], z[p[5]], z[p[6]], z[p[7]], z[p[8]], z[p[9]],
                    z[p[10]], row,
                )  # fmt: skip
                _add(
                    covered[first:last],
                    shifted[q, r, first:last], mean[q, r, first:last], variance[q, r, first:last], centre[block],
                    other_mean[block, r, first:last], other_variance[block, r, first:last], c1, c2, total,
                )  # fmt: skip
            for lane in range(LANES):
                score = np.float32(0)
                for c in range(width):
                    score += total[c, lane]
                result[q, block * LANES + lane] = score / np.float32((height - 2 * margin) * (width - 2 * margin))
