"""Peers: embedders with weights of their own, measured in the same harness as the subspaces.

A peer is an ``Encoder``: ``extract`` caches its vectors as it caches a backbone's layer means. Adding
one is a class and a registry line; any function can be measured through ``CallableEncoder``.
"""

from collections.abc import Callable, Sequence
from uuid import uuid4

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intervox.audio import Waveform
from intervox.errors import IntervoxError
from intervox.evaluation.representations import Representation
from intervox.evaluation.resemblyzer import Resemblyzer
from intervox.evaluation.vectors import unit
from intervox.features.extraction import Encoder

PEERS: dict[str, Callable[[], Encoder]] = {Resemblyzer.name: Resemblyzer}
ABOUT_PEERS = {Resemblyzer.name: Resemblyzer.about}
"""Every peer to one clause that says what it is."""


def load_peer(name: str) -> Encoder:
    """Load a peer by its name.

    Raises
    ------
    IntervoxError
        There is none of that name, or what it needs is not installed.
    """
    if name not in PEERS:
        raise IntervoxError(f"there is no peer {name!r}: choose from {', '.join(PEERS)}")
    return PEERS[name]()


def peer_representation(encoder: Encoder, space: str = "speaker") -> Representation:
    """Score a peer's vectors as they are, by cosine, next to one of the subspaces.

    ``embed`` takes the features that ``extract`` made with this encoder, not those of the backbone.
    """
    return Representation(
        f"{encoder.name}.{space}", lambda means: unit(means.reshape(len(means), -1)), encoder.name
    )


class CallableEncoder:
    """Any embedder, as a function.

    Parameters
    ----------
    function
        Takes 16 kHz float32 arrays of shape (samples,) and gives their vectors, shape (clips, dim);
        with ``batched=False`` it takes one array and gives one vector, shape (dim,).
    name
        What the results call it.
    dim
        Of the vectors.
    fingerprint
        A name for the weights and settings behind the function, to cache its vectors under. Without
        one they are made again each time, as nobody can tell whether the function has changed.
    batched
        Whether the function takes many clips at once.
    """

    layers = 1

    def __init__(
        self,
        function: Callable[..., ArrayLike],
        name: str,
        dim: int,
        fingerprint: str | None = None,
        batched: bool = True,
    ) -> None:
        self._function = function
        self._batched = batched
        self.name = name
        self.dim = dim
        self.fingerprint = fingerprint or uuid4().hex

    def encode(self, waves: Sequence[Waveform]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Embed clips of any length, as unit vectors; see ``Encoder.encode``.

        Raises
        ------
        IntervoxError
            The function gave another shape, or numbers that are not finite.
        """
        given = self._function(list(waves)) if self._batched else [self._function(wave) for wave in waves]
        vectors = np.asarray(given, np.float32)
        if vectors.shape != (len(waves), self.dim):
            raise IntervoxError(
                f"{self.name} gave vectors of shape {vectors.shape} for {len(waves)} clips: make it "
                f"{(len(waves), self.dim)}, or correct its dim"
            )
        if not np.isfinite(vectors).all():
            raise IntervoxError(f"{self.name} gave NaN or infinite numbers: correct the function")
        # Features are kept in half precision, whose range the numbers of a stranger need not be in.
        return unit(vectors)[:, None], np.asarray([len(wave) for wave in waves], np.int64)
