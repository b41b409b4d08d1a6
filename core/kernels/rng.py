"""Random numbers for kernels: xoshiro256++ in a plain array, so that a state can be kept.

Numba's own generator is one per thread and cannot be stored beside the market it drives. Here the
state is a uint64[RNG_SIZE] that the caller owns: same seed, same numbers, whatever else runs.

Source: Blackman, Vigna, "Scrambled linear pseudorandom number generators" (2021), with the
authors' public-domain xoshiro256plusplus.c and splitmix64.c for seeding; the normal draw is
Marsaglia's polar method (1964).
"""

from __future__ import annotations

import math

import numpy as np

from core.kernels import jit

RNG_SIZE = 4

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S11, _S17, _S19, _S23 = np.uint64(11), np.uint64(17), np.uint64(19), np.uint64(23)
_S27, _S30, _S31, _S41, _S45 = (
    np.uint64(27),
    np.uint64(30),
    np.uint64(31),
    np.uint64(41),
    np.uint64(45),
)
_TO_UNIT = 2.0**-53


@jit
def seed_rng(rng, seed):
    """Fill ``rng``, uint64[RNG_SIZE], from an integer seed; no seed gives the forbidden zero."""
    state = np.uint64(seed)
    for i in range(4):
        state += _GOLDEN
        word = state
        word = (word ^ (word >> _S30)) * _MIX_1
        word = (word ^ (word >> _S27)) * _MIX_2
        rng[i] = word ^ (word >> _S31)


@jit
def next_word(rng):
    """Return the next 64 random bits as uint64."""
    s0 = rng[0]
    s1 = rng[1]
    s2 = rng[2] ^ s0
    s3 = rng[3] ^ s1
    total = s0 + rng[3]
    result = ((total << _S23) | (total >> _S41)) + s0
    rng[1] = s1 ^ s2
    rng[0] = s0 ^ s3
    rng[2] = s2 ^ (s1 << _S17)
    rng[3] = (s3 << _S45) | (s3 >> _S19)
    return result


@jit
def uniform(rng):
    """Return a float64 in [0, 1) with 53 random bits."""
    return (next_word(rng) >> _S11) * _TO_UNIT


@jit
def exponential(rng):
    """Return an exponential draw of mean 1."""
    return -math.log(1.0 - uniform(rng))


@jit
def normal(rng):
    """Return a standard normal draw.

    The method makes two and the second is thrown away: keeping it would be a second state.
    """
    while True:
        x = 2.0 * uniform(rng) - 1.0
        y = 2.0 * uniform(rng) - 1.0
        square = x * x + y * y
        if 0.0 < square < 1.0:
            return x * math.sqrt(-2.0 * math.log(square) / square)


@jit
def pareto(rng, tail):
    """Return a Pareto draw of minimum 1 and exponent ``tail``."""
    return (1.0 - uniform(rng)) ** (-1.0 / tail)
