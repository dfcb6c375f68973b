"""What a run compares: its subspaces, the raw layers, baselines and peers, and how they are scored."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intervox.clips.corpus import Corpus
from intervox.evaluation import SYNTHETIC
from intervox.evaluation.baselines import (
    ABOUT,
    CLOSED_FORM,
    OBSERVATIONAL,
    fit_baselines,
    observational_representations,
)
from intervox.evaluation.baselines.peers import ABOUT_PEERS, peer_representation
from intervox.evaluation.evaluate import Compared
from intervox.evaluation.representations import embed_rows, raw_representations, subspace_representations
from intervox.evaluation.results import Metrics
from intervox.evaluation.separation import SpaceEvidence
from intervox.evaluation.test_sets import CLEAN, CROSS_CONDITION, EVALUATION_SEED, TestSet
from intervox.evaluation.verification import Scorer, fit_on_held_out
from intervox.features.encoding import Encoder
from intervox.features.store import Features
from intervox.metrics.trials import Pairs, usual_stratum
from intervox.metrics.vectors import Vectors, cosine, unit
from intervox.model.closed_form import fit_lda
from intervox.model.decision import CONDITION, TEXT, References
from intervox.model.model import SubspaceModel
from intervox.recipe import Recipe
from intervox.seeds import rng
from intervox.training.cells import TrainingCells, training_cells
from intervox.training.start import standardised_model

SPEAKER = "speaker"

REFERENCE_CELLS = 240
"""Cells that a model carries, in each condition: 57,000 pairs of different speakers in 140 kB."""

CHUNK = 4_096
"""Clips compared with the cohort at once."""

TOP = 200
PLDA_SHRINKAGE = 1e-3


def compared_in_run(
    model: SubspaceModel,
    corpus: Corpus,
    own_features: Features,
    features: Features,
    recipe: Recipe,
    peers: Sequence[Encoder],
    folder: Path,
) -> Compared:
    """Fit or train everything that a run's subspaces are measured beside.

    Parameters
    ----------
    own_features
        Of the corpus, by the model's own backbone.
    features
        Of the corpus, by the frozen backbone, which the baselines get; the same where none was trained.
    folder
        Where models of trained baselines go.

    Raises
    ------
    IntervoxError
        A baseline's extra is not installed.
    """
    chosen = training_cells(corpus.cells, features, set(model.factors.values()))
    frozen, means = model, own_features.rows(chosen.rows)
    frozen_means = means
    if features.about["fingerprint"] != own_features.about["fingerprint"] or not recipe.training.standardise:
        frozen, frozen_means = standardised_model(features, recipe, chosen.rows), features.rows(chosen.rows)
    own = subspace_representations(model)
    settings = recipe.evaluation
    closed = [name for name in settings.baselines if name in CLOSED_FORM]
    others = fit_baselines(closed, frozen, recipe, frozen_means, chosen)
    # It is the control of crossed blocks. At depth ``blocks`` it would be a second training from the audio: a
    # variant of a sweep.
    controlled = recipe.training.depth != "blocks" and recipe.training.batches == "crossed"
    if OBSERVATIONAL in settings.baselines and controlled:
        others += observational_representations(corpus.cells, features, recipe, folder / OBSERVATIONAL)
    speaker = next((name for name, factor in model.factors.items() if factor == SPEAKER), SPEAKER)
    listed_once = {peer.name: peer for peer in peers}
    return Compared(
        model.factors,
        [*own, *raw_representations(features.layers), *others]
        + [peer_representation(peer, speaker) for peer in listed_once.values()],
        ABOUT | ABOUT_PEERS,
        _scorers(model, own_features, chosen, recipe),
        SpaceEvidence.of_model(model, own, means, frozen, frozen_means) if settings.separation else None,
    )


def calibrate(model: SubspaceModel, test_sets: Sequence[TestSet]) -> dict[str, list[float]]:
    """Fit each subspace's slope and offset from a cosine to the log-odds of "the same".

    Returns
    -------
    dict
        Empty without held-out synthetic cells; without a subspace whose factor has not two values there.
    """
    return {
        space.name: [round(value, 5) for value in fit_on_held_out(space, held_out, model.factors[space.name])]
        for held_out in test_sets
        if held_out.name == SYNTHETIC
        for space in subspace_representations(model)
        if len(set(held_out.clips.labels.get(model.factors[space.name], ())) - {""}) > 1
    }


def default_decisions(metrics: Metrics) -> dict[str, dict[str, list[float]]]:
    """Return what the default decision does on people, as ``SubspaceModel.measured`` has it.

    The trials are of clean clips whose texts differ, where texts are known.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for protocol, verified in metrics.verification.items():
        for space, conditions in verified.own.items():
            if protocol == SYNTHETIC or metrics.spaces[space] != SPEAKER or not conditions.get(CLEAN):
                continue
            strata = conditions[CLEAN]
            rates = strata[usual_stratum(strata)]
            if rates.false_accepts is not None and rates.false_rejects is not None:
                found.setdefault(space, {})[protocol] = [rates.false_accepts, rates.false_rejects]
    return found


def draw_references(model: SubspaceModel, test_sets: Sequence[TestSet]) -> References | None:
    """Draw held-out synthetic cells that a model carries, each clean and degraded.

    Returns
    -------
    References or None
        None without held-out cells.
    """
    held_out = next((test_set for test_set in test_sets if test_set.name == SYNTHETIC), None)
    if held_out is None:
        return None
    random = rng(EVALUATION_SEED, "references")
    count = min(REFERENCE_CELLS, len(held_out.clips))
    rows = np.sort(random.choice(len(held_out.clips), count, replace=False))
    conditions = [name for name in (CLEAN, CROSS_CONDITION) if name in held_out.whole]
    known = [name for name in (*model.factors.values(), TEXT) if name in held_out.clips.labels]
    labels = {name: [str(held_out.clips.labels[name][row]) for row in rows] for name in known}
    return References(
        {
            space.name: np.concatenate([space.vectors(held_out, name)[rows] for name in conditions])
            for space in subspace_representations(model)
        },
        {name: values * len(conditions) for name, values in labels.items()}
        | {CONDITION: np.repeat(conditions, count).tolist()},
    )


def _scorers(
    model: SubspaceModel, features: Features, chosen: TrainingCells, recipe: Recipe
) -> Mapping[str, Scorer]:
    """Fit the back-ends that the recipe asks for on the training cells of the speaker space."""
    space = next((name for name, factor in model.factors.items() if factor == SPEAKER), None)
    if space is None:
        return {}
    vectors = embed_rows(model, features, chosen.rows)[space]
    speakers = chosen.labels[SPEAKER].astype(np.str_)
    fits: dict[str, Callable[[], Scorer]] = {
        "cosine": lambda: cosine,
        "centred": lambda: centred(vectors.mean(axis=0)),
        "as_norm": lambda: as_norm(speaker_cohort(vectors, speakers)),
        "plda": lambda: plda(vectors, speakers),
    }
    return {name: fits[name]() for name in recipe.evaluation.scoring}


def centred(mean: NDArray[np.floating]) -> Scorer:
    """Return the cosine of vectors less a mean, shape (dim,), that they have in common."""
    return lambda vectors, pairs: cosine(unit(vectors - mean), pairs)


def speaker_cohort(vectors: Vectors, speakers: NDArray[np.str_]) -> Vectors:
    """Average each speaker's vectors (cells, dim): unit vectors, shape (speakers, dim)."""
    numbers = np.unique(speakers, return_inverse=True)[1]
    sums = np.zeros((numbers.max() + 1, vectors.shape[1]))
    np.add.at(sums, numbers, vectors)
    return unit(sums)


def as_norm(cohort: Vectors, top: int = TOP) -> Scorer:
    """Return the cosine under adaptive symmetric score normalisation.

    Matějka et al. 2017, *Analysis of Score Normalization in Multilingual Speaker Recognition*,
    AS-norm1: a score is standardised by the scores of each of its two clips against the cohort
    entries nearest to that clip, and the two results are averaged.

    Parameters
    ----------
    cohort
        Unit vectors, shape (entries, dim); two at least.
    top
        Entries to keep for each clip, all where there are fewer.
    """
    top = min(top, len(cohort))

    def score(vectors: Vectors, pairs: Pairs) -> NDArray[np.float32]:
        clips, numbers = np.unique(pairs, return_inverse=True)
        mean, deviation = np.empty((2, len(clips)), np.float32)
        for start in range(0, len(clips), CHUNK):
            part = slice(start, start + CHUNK)
            best = np.partition(vectors[clips[part]] @ cohort.T, -top, axis=1)[:, -top:]
            mean[part], deviation[part] = best.mean(axis=1), np.maximum(best.std(axis=1), 1e-6)
        scores = cosine(vectors, pairs)
        either = ((scores - mean[side]) / deviation[side] for side in numbers.reshape(-1, 2).T)
        return np.asarray(sum(either) / 2, np.float32)

    return score


def plda(vectors: Vectors, speakers: NDArray[np.str_]) -> Scorer:
    """Fit probabilistic LDA: the log-likelihood ratio of one speaker against two.

    The two-covariance model (Brümmer & de Villiers 2010): a speaker is a Gaussian draw, a clip
    another around it. In the directions that whiten the latter and diagonalise the former (Ioffe
    2006) the ratio is a sum over directions, and its only term of both clips an inner product.

    Parameters
    ----------
    vectors, speakers
        Of training cells, shapes (cells, dim) and (cells,): two speakers at least, several cells each.

    Raises
    ------
    IntervoxError
        There is one speaker only.
    """
    labels = np.unique(speakers, return_inverse=True)[1]
    directions = fit_lda(vectors, labels, vectors.shape[1], PLDA_SHRINKAGE)
    # Variance between the speakers, where that within them is 1.
    between = directions.reliability / (1 - directions.reliability)
    joint = 2 * between + 1
    common = np.sum(np.log(between + 1) - 0.5 * np.log(joint))

    def score(vectors: Vectors, pairs: Pairs) -> NDArray[np.float32]:
        points = vectors @ directions.weight.T + directions.bias
        own = -0.5 * points**2 @ (between**2 / ((between + 1) * joint))
        products = cosine(np.asarray(points * np.sqrt(between / joint), np.float32), pairs)
        return np.asarray(products + own[pairs].sum(axis=1) + common, np.float32)

    return score
