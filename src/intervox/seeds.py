"""Named streams of random numbers: one seed for a run, one name for each use of it."""

import hashlib

import numpy as np


def rng(seed: int, name: str, *index: int) -> np.random.Generator:
    """Return the random numbers of one use of a seed.

    Streams of different names, or of one name and different indices, are independent. The name is
    hashed, so a new use needs no number that another one may already have.

    Parameters
    ----------
    seed
        Of the run, at least 0.
    name
        What is drawn, as ``module.purpose``.
    index
        Which one of many like draws, such as a step or a clip; each at least 0.
    """
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest), *index])
