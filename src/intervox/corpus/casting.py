"""Casting: every voice says the same few texts, and voices that can't be told apart are found.

The audition is one block, all voices crossed with a handful of texts. It gives a speaker space
(LDA on the voices themselves, over the backbone's low layers: no human label), a distance between
any two voices, and from them the near-duplicates and a figure for the corpus' diversity.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import entropy

from intervox.audio import Waveform
from intervox.backbones.base import Backbone
from intervox.backbones.load import load_backbone
from intervox.clips.corpus import Corpus
from intervox.clips.schema import CastingFacts
from intervox.corpus.plan.people import Cast, all_speakers
from intervox.corpus.render.synthesis import audition
from intervox.errors import IntervoxError
from intervox.features.encoding import layer_means
from intervox.features.extraction import extract
from intervox.features.store import Features
from intervox.metrics.vectors import Vectors, unit
from intervox.model.closed_form import LinearMap, fit_lda
from intervox.parallel import Pool
from intervox.recipe import FeatureSettings
from intervox.recipe.corpus import CastingSettings, CorpusRecipe
from intervox.storage import write_json

_DIM = 64
_SHRINKAGE = 0.3


@cache
def _backbone(name: str) -> Backbone:
    """Load the backbone once a worker, not once a shard."""
    return load_backbone(name)


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
            means, _ = layer_means(_backbone(self.backbone), waves, FeatureSettings())
        finally:
            torch.set_num_threads(threads)
        vectors = self.project(means)
        return [
            round(float(1 - vector @ self.centroids[speaker]), 4) if speaker in self.centroids else None
            for vector, speaker in zip(vectors, speakers, strict=True)
        ]

    def project(self, means: NDArray[np.float32]) -> Vectors:
        """Map layer means (clips, layers, dim) to unit vectors (clips, dim)."""
        return _project(_flat(means, self.layers), self.mean, self.scale, self.linear)


def cast_voices(recipe: CorpusRecipe, seed: int, folder: Path, pool: Pool) -> Cast:
    """Audition every synthetic voice of a recipe, or read what an earlier call found.

    Parameters
    ----------
    folder
        Where the audition's clips and features are kept.
    """
    settings = recipe.casting
    assert settings is not None
    backbone = load_backbone(settings.backbone)
    if not 0 <= min(settings.layers) <= max(settings.layers) < backbone.layers:
        raise IntervoxError(
            f"casting.layers: {settings.backbone} has layers 0 to {backbone.layers - 1}, not "
            f"{', '.join(map(str, settings.layers))}"
        )
    corpus = audition(recipe, seed, folder / "audition", pool)
    features = extract(corpus, backbone, FeatureSettings(), folder / "features", "audition")
    said = _audition_means(corpus, features, settings)
    speakers, means = list(said), np.stack(list(said.values()))
    # A voice that failed a text is measured on the others' mean there.
    means = np.where(np.isnan(means), np.nanmean(means, axis=0, keepdims=True), means)
    similarities = voice_similarities(means)
    clusters = near_duplicates(voice_distances(similarities), settings.min_distance)
    families = {
        speaker.label: speaker.voice.family for engine in recipe.engines for speaker in all_speakers(engine)
    }
    labels = _labels(speakers, clusters, families, settings)
    space = _space(speakers, means, settings)
    figures = CastingFacts(
        voices=len(speakers),
        distinct=len(set(clusters)),
        effective=round(effective_number(similarities), 1),
        min_distance=settings.min_distance,
        near_duplicates=_groups(speakers, clusters),
        merged={old: new for old, new in labels.items() if new not in (old, None)},
        dropped=[name for name, new in labels.items() if new is None],
    )
    write_json(folder / "casting.json", figures.model_dump())
    return Cast(labels, space, figures)


def _audition_means(corpus: Corpus, features: Features, settings: CastingSettings) -> dict[str, Vectors]:
    """Arrange the chosen layers' means: speaker to (texts, inputs), NaN for a text that failed."""
    flat = _flat(features.rows(), settings.layers)
    flat[features.frames == 0] = np.nan
    cells: dict[str, list[int]] = {}
    for cell, speaker in enumerate(corpus.cells["speaker"].to_pylist()):
        cells.setdefault(speaker, []).append(cell)
    return {speaker: flat[rows] for speaker, rows in cells.items()}


def voice_similarities(means: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean cosine between the clips of each two voices, and within each on the diagonal.

    Only clips of different texts are compared, in a space that was fitted on other texts than those
    (two folds).

    Parameters
    ----------
    means
        Shape (voices, texts, inputs): the chosen layers' means, concatenated.

    Returns
    -------
    ndarray
        Shape (voices, voices), symmetric.
    """
    texts = means.shape[1]
    folds = [np.arange(texts) % 2 == 0, np.arange(texts) % 2 == 1]
    result = np.zeros((len(means), len(means)))
    for measured in folds:
        vectors = _project(means[:, measured], *_fit(means[:, ~measured]))
        summed = vectors.sum(axis=1)
        same_text = np.einsum("vtd,wtd->vw", vectors, vectors)
        count = int(measured.sum())
        result += (summed @ summed.T - same_text) / (count * (count - 1)) / len(folds)
    return result


def voice_distances(similarities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Say how different each two voices are, free of what two readings of one voice differ by.

    The mean cosine distance between the two voices' clips less that within each: half the squared
    distance of their mean vectors, estimated without bias, 0 for one and the same voice.

    Returns
    -------
    ndarray
        Shape (voices, voices), symmetric, zero on the diagonal; noise can make it slightly negative.
    """
    own = np.diag(similarities)
    return np.asarray((own[:, None] + own[None, :]) / 2 - similarities)


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


def effective_number(similarities: NDArray[np.float64]) -> float:
    """Count voices by how much they differ: 1 for copies of one voice, n for n unrelated ones.

    The Vendi score (Friedman & Dieng 2023): the exponential of the entropy of the eigenvalues of the
    similarity matrix. Each similarity is divided by what the two voices reach with themselves, so
    that readings that vary do not pass for voices that are alike. The dimensions of the speaker
    space bound it: no more than 64 voices can all be unrelated.
    """
    own = np.sqrt(np.maximum(np.diag(similarities), 1e-3))
    related = np.clip(similarities / np.outer(own, own), 0, 1)
    np.fill_diagonal(related, 1)
    return float(np.exp(entropy(np.maximum(np.linalg.eigvalsh(related), 0))))


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
    groups = (np.flatnonzero(clusters == cluster) for cluster in dict.fromkeys(clusters.tolist()))
    return [[speakers[index] for index in group] for group in groups if len(group) > 1]


def _space(speakers: list[str], means: NDArray[np.float32], settings: CastingSettings) -> SpeakerSpace:
    fitted = _fit(means)
    centroids = dict(zip(speakers, unit(_project(means, *fitted).mean(axis=1)), strict=True))
    return SpeakerSpace(settings.backbone, settings.layers, *fitted, centroids)


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
    return unit(((means - mean) / scale) @ linear.weight.T + linear.bias)


def _flat(means: NDArray[np.float32], layers: tuple[int, ...]) -> NDArray[np.float32]:
    return means[:, list(layers)].reshape(len(means), -1)
