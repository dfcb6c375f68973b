"""DCI and MIG of whole subspaces: secondary figures, for comparison with work on disentanglement.

Both were made for codes whose dimensions stand for one factor each. Here a *block* of dimensions,
a subspace, takes the place of a dimension, and V-information that of importance and of mutual
information: a rotation within a block changes neither.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def block_scores(matrix: Mapping[str, Any], blocks: Sequence[str], factors: Sequence[str]) -> dict[str, Any]:
    """Summarise a separation matrix by DCI (Eastwood & Williams 2018) and MIG (Chen et al. 2018).

    Parameters
    ----------
    matrix
        From ``separation_matrix``.
    blocks
        The spaces that make up the code, such as the subspaces and the residual.
    factors
        Those that the code is meant to separate; the matrix has them all.

    Returns
    -------
    dict
        ``dci``: ``disentanglement`` (does a block know one factor alone? blocks weigh by what they
        know), ``completeness`` (is a factor in one block alone?) and ``informativeness`` (the best
        block's share of a factor's entropy, over factors); ``mig``: the gap between the best and
        the second block, as a share of a factor's entropy, over factors. All in [0, 1], 1 is best.
        None where there are fewer than two blocks or factors, or nothing is known of any.
    """
    empty = {"dci": None, "mig": None}
    if min(len(blocks), len(factors)) < 2:
        return empty
    shares = np.array([[_share(matrix[factor][block]) for factor in factors] for block in blocks])
    if not shares.any():
        return empty
    weights = shares.sum(axis=1) / shares.sum()
    ranked = np.sort(shares, axis=0)[::-1]
    dci = {
        "disentanglement": weights @ _purity(shares),
        "completeness": _purity(shares.T).mean(),
        "informativeness": ranked[0].mean(),
    }
    return {
        "dci": {name: round(float(value), 5) for name, value in dci.items()},
        "mig": round(float((ranked[0] - ranked[1]).mean()), 5),
    }


def _share(cell: Mapping[str, Any]) -> float:
    """Share of a factor's entropy that the better of the two probes reads."""
    information = cell["information"]
    known = max(information["bits"], information["mlp_bits"], 0)
    return float(min(known / information["entropy_bits"], 1))


def _purity(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """One less the entropy of each row, in units of its largest value; 0 for a row of zeros."""
    totals = shares.sum(axis=1, keepdims=True)
    parts = np.divide(shares, totals, out=np.full_like(shares, 1 / shares.shape[1]), where=totals > 0)
    logs = np.log(parts, out=np.zeros_like(parts), where=parts > 0)
    return np.asarray(1 + (parts * logs).sum(axis=1) / np.log(shares.shape[1]))
