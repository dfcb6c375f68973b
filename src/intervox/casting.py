"""Casting: every voice says the same few texts, and voices that can't be told apart are found.

The audition is one block, all voices crossed with a handful of texts. It gives a speaker space
(LDA on the voices themselves, over the backbone's low layers: no human label), a distance between
any two voices, and from them the near-duplicates and a figure for the corpus' diversity.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from intervox.audio import Waveform
from intervox.backbones.base import Backbone, load_backbone
from intervox.corpus.people import all_speakers
from intervox.corpus.store import Corpus
from intervox.corpus.synthesis import audition
from intervox.features.extraction import extract, layer_means
from intervox.features.store import Features
from intervox.parallel import Pool
from intervox.recipe import FeatureSettings
from intervox.recipe_corpus import CastingSettings, CorpusRecipe
from intervox.storage import write_json
from intervox.subspaces.lda import LinearMap, fit_lda

_DIM = 64
_SHRINKAGE = 0.3
RESULT = "casting.json"

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class SpeakerSpace:
    """Unit vectors in which a voice lies near itself.

    Attributes
    ----------
    backbone
        Name of the backbone; it is loaded in the process that asks for distances.
    layers
        Which hidden states are read.
    mean, scale
        Shape (layers * dim,): standardisation.
    linear
        LDA on the voices, each direction shrunk by its reliability.
    centroids
        Speaker label to a unit vector.
    """

    backbone: str
    layers: tuple[int, ...]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    linear: LinearMap
    centroids: dict[str, Vectors]

    def distances(self, waves: Sequence[Waveform], speakers: Sequence[str]) -> list[float | None]:
        """Return 1 - cosine between each rendition and its voice's centroid, in [0, 2]."""
        # One thread, as each worker is one process; and sums then do not depend on their number.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            means, _ = layer_means(self._loaded, waves, FeatureSettings())
        finally:
            torch.set_num_threads(threads)
        vectors = self.project(means)
        return [
            round(float(1 - vector @ self.centroids[speaker]), 4) if speaker in self.centroids else None
            for vector, speaker in zip(vectors, speakers, strict=True)
        ]

    def project(self, means: NDArray[np.float32]) -> Vectors:
        """Map layer means (clips, layers, dim) to unit vectors (clips, dim)."""
        inputs = (_flat(means, self.layers) - self.mean) / self.scale
        return _unit(inputs @ self.linear.weight.T + self.linear.bias)

    @cached_property
    def _loaded(self) -> Backbone:
        return load_backbone(self.backbone)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_loaded"}


@dataclass(frozen=True)
class Cast:
    """What the audition found.

    Attributes
    ----------
    labels
        Every voice's label to the one it is planned under; None for one that is left out.
    space
        Measures further renditions.
    figures
        Voices, how many are distinct, near-duplicates, the effective number of voices.
    """

    labels: dict[str, str | None]
    space: SpeakerSpace
    figures: dict[str, Any]

    def __call__(self, label: str) -> str | None:
        """Return the label that a voice is planned under."""
        return self.labels.get(label, label)


def cast_voices(recipe: CorpusRecipe, seed: int, folder: Path, pool: Pool) -> Cast:
    """Audition every synthetic voice of a recipe, or read what an earlier call found.

    Parameters
    ----------
    folder
        Where the audition's clips and features are kept.
    """
    settings = recipe.casting
    assert settings is not None
    corpus = audition(recipe, seed, folder / "audition", pool)
    backbone = load_backbone(settings.backbone)
    features = extract(corpus, backbone, FeatureSettings(), folder / "features", "audition")
    table = AuditionTable.of(corpus, features, settings)
    distances = voice_distances(table)
    clusters = near_duplicates(distances, settings.min_distance)
    families = {
        speaker.label: speaker.voice.family for engine in recipe.engines for speaker in all_speakers(engine)
    }
    labels = _labels(table.speakers, clusters, families, settings)
    space = _space(table, settings)
    figures = {
        "voices": len(table.speakers),
        "distinct": len(set(clusters)),
        "effective": round(effective_number(distances), 1),
        "min_distance": settings.min_distance,
        "near_duplicates": _groups(table.speakers, clusters),
        "merged": {old: new for old, new in labels.items() if new not in (old, None)},
        "dropped": [name for name, new in labels.items() if new is None],
    }
    write_json(folder / RESULT, figures)
    return Cast(labels, space, figures)


@dataclass(frozen=True)
class AuditionTable:
    """The audition's layer means, voice by text.

    Attributes
    ----------
    means
        Shape (voices, texts, inputs): the chosen layers, concatenated.
    """

    speakers: list[str]
    means: NDArray[np.float32]

    @staticmethod
    def of(corpus: Corpus, features: Features, settings: CastingSettings) -> "AuditionTable":
        """Arrange the clips; a voice that failed a text is measured on the others' mean there."""
        flat = _flat(features.rows(), settings.layers)
        cells = corpus.cells.to_pydict()
        speakers = list(dict.fromkeys(cells["speaker"]))
        row = {name: index for index, name in enumerate(speakers)}
        # Texts of several languages are numbered within their language.
        turn: dict[str, int] = {}
        means = np.full((len(speakers), settings.texts, flat.shape[1]), np.nan, np.float32)
        for cell, speaker in enumerate(cells["speaker"]):
            column = turn.get(speaker, 0)
            turn[speaker] = column + 1
            if features.frames[cell]:
                means[row[speaker], column] = flat[cell]
        filled = np.where(np.isnan(means), np.nanmean(means, axis=0, keepdims=True), means)
        return AuditionTable(speakers, filled.astype(np.float32))


def voice_distances(table: AuditionTable) -> NDArray[np.float64]:
    """Estimate how different each two voices are, free of what two readings of one voice differ by.

    The mean cosine distance between the two voices' clips less that within each: half the squared
    distance of their mean vectors, estimated without bias, 0 for one and the same voice. Clips of
    different texts are compared, in a space that was fitted on other texts than those (two folds).

    Returns
    -------
    ndarray
        Shape (voices, voices), symmetric, zero on the diagonal; noise can make it slightly negative.
    """
    texts = table.means.shape[1]
    folds = [np.arange(texts) % 2 == 0, np.arange(texts) % 2 == 1]
    result = np.zeros((len(table.means), len(table.means)))
    for measured in folds:
        vectors = _project(table.means[:, measured], *_fit(table.means[:, ~measured]))
        summed = vectors.sum(axis=1)
        within = np.einsum("vtd,wtd->vw", vectors, vectors)
        count = int(measured.sum())
        # Similarity over all pairs of different texts: all pairs, less those of the same text.
        similar = (summed @ summed.T - within) / (count * (count - 1))
        own = np.diag(similar)
        result += ((own[:, None] + own[None, :]) / 2 - similar) / len(folds)
    return result


def near_duplicates(distances: NDArray[np.float64], min_distance: float) -> NDArray[np.int64]:
    """Group voices that all lie nearer to one another than ``min_distance`` (complete linkage).

    Returns
    -------
    ndarray
        Shape (voices,): number of each voice's group.
    """
    if len(distances) < 2:
        return np.zeros(len(distances), np.int64)
    condensed = squareform(np.maximum(distances, 0), checks=False)
    return np.asarray(fcluster(linkage(condensed, "complete"), min_distance, "distance"), np.int64)


def effective_number(distances: NDArray[np.float64]) -> float:
    """Count voices by how much they differ: 1 for copies of one voice, n for n unrelated ones.

    The Vendi score (Friedman & Dieng 2023): the exponential of the entropy of the eigenvalues of the
    similarity matrix, here 1 - distance.
    """
    similarity = np.clip(1 - np.maximum(distances, 0), 0, 1)
    np.fill_diagonal(similarity, 1)
    eigenvalues = np.maximum(np.linalg.eigvalsh(similarity / len(similarity)), 0)
    shares = eigenvalues[eigenvalues > 1e-12] / eigenvalues.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def _labels(
    speakers: list[str], clusters: NDArray[np.int64], families: dict[str, str], settings: CastingSettings
) -> dict[str, str | None]:
    """Name every voice after the first of its group, or leave the later ones out.

    Voices of two families are never merged: their splits may differ.
    """
    first: dict[int, str] = {}
    labels: dict[str, str | None] = {}
    for speaker, cluster in zip(speakers, clusters.tolist(), strict=True):
        lead = first.setdefault(cluster, speaker)
        if settings.near_duplicates == "keep" or lead == speaker:
            labels[speaker] = speaker
        else:
            merge = settings.near_duplicates == "merge" and families[speaker] == families[lead]
            labels[speaker] = lead if merge else None
    return labels


def _groups(speakers: list[str], clusters: NDArray[np.int64]) -> list[list[str]]:
    groups: dict[int, list[str]] = {}
    for speaker, cluster in zip(speakers, clusters.tolist(), strict=True):
        groups.setdefault(cluster, []).append(speaker)
    return [group for group in groups.values() if len(group) > 1]


def _space(table: AuditionTable, settings: CastingSettings) -> SpeakerSpace:
    mean, scale, linear = _fit(table.means)
    vectors = _project(table.means, mean, scale, linear)
    centroids = dict(zip(table.speakers, _unit(vectors.mean(axis=1)), strict=True))
    return SpeakerSpace(settings.backbone, settings.layers, mean, scale, linear, centroids)


def _fit(means: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32], LinearMap]:
    """Standardise (voices, texts, inputs) and fit LDA on the voices."""
    voices, texts, size = means.shape
    inputs = means.reshape(-1, size)
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
    labels = np.repeat(np.arange(voices), texts)
    return mean, scale, fit_lda((inputs - mean) / scale, labels, _DIM, _SHRINKAGE).shrunk(1.0)


def _project(
    means: NDArray[np.float32], mean: NDArray[np.float32], scale: NDArray[np.float32], linear: LinearMap
) -> Vectors:
    return _unit(((means - mean) / scale) @ linear.weight.T + linear.bias)


def _flat(means: NDArray[np.float32], layers: tuple[int, ...]) -> NDArray[np.float32]:
    return means[:, list(layers)].reshape(len(means), -1)


def _unit(vectors: NDArray[np.floating]) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)
