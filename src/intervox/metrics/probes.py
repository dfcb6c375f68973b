"""What a classifier can read from vectors: linear and MLP probes, and a control that can't know.

Every probe is trained and tested on disjoint *groups*: what is said is probed on speakers that it
was not trained on, who speaks on texts that it was not trained on. Otherwise a probe would get a
factor right by recognising a clip's other factor.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from intervox.metrics.bootstrap import Interval, estimable, interval
from intervox.metrics.information import pointwise_bits
from intervox.metrics.vectors import Vectors

FOLDS = 3
MAX_CLASSES = 50
MAX_CLIPS = 2_000
INVERSE_PENALTY = 0.1
"""C of scikit-learn's logistic regression, for both kinds: ``||W||² / 2C`` is added to the summed loss."""
LINEAR_STEPS = 60
MLP_WIDTH = 64
MLP_STEPS = 40
MLP_RATE = 0.03

Kind = Literal["linear", "mlp"]
KINDS: tuple[Kind, ...] = ("linear", "mlp")
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """Which clips are probed for which factor, and how they are split.

    Attributes
    ----------
    rows
        Shape (chosen,): the clips that take part.
    labels, groups
        Shape (chosen,): class and group of each, as numbers from 0.
    folds
        Seed and held-out positions (in ``rows``) of every fit; a seed's folds hold out each clip once.
    rng
        Gives the random numbers of a seed and the name of their use.
    """

    rows: Integers
    labels: Integers
    groups: Integers
    folds: list[tuple[int, Integers]]
    rng: Callable[..., np.random.Generator]

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.labels.max()) + 1

    @property
    def chance(self) -> float:
        """Accuracy of always answering with the most frequent class."""
        return float(np.bincount(self.labels).max() / len(self.labels))


@dataclass(frozen=True)
class Estimate:
    """A mean over held-out clips and its interval."""

    value: float
    interval: Interval | None
    samples: NDArray[np.float64] = field(compare=False, repr=False)
    """The mean of every resample, the same resamples whatever is probed on a task; NaN for too few groups."""


@dataclass(frozen=True)
class Probed:
    """What one kind of probe reads from one space.

    Attributes
    ----------
    accuracy
        Share of held-out clips that are told right, over all seeds.
    bits
        V-information of the space about the factor, and
    entropy_bits
        what there was to know: the factor's entropy, by the class frequencies of the training folds
        (both from ``information.pointwise_bits``).
    """

    accuracy: Estimate
    bits: Estimate
    entropy_bits: float


def draw_task(
    labels: NDArray[np.str_],
    groups: NDArray[np.str_],
    seeds: tuple[int, ...],
    rng: Callable[..., np.random.Generator],
) -> Task | None:
    """Choose classes and clips, and split them by groups, once a seed.

    Parameters
    ----------
    labels
        Shape (clips,): the factor; empty strings are unknown and left out.
    groups
        Shape (clips,): what training and test must not share.
    seeds
        Each draws its own folds.
    rng
        ``seeds.rng``, or another source of random numbers by seed and name.

    Returns
    -------
    Task or None
        At most ``MAX_CLIPS`` clips of the ``MAX_CLASSES`` most frequent classes that occur in two
        groups or more. None where fewer than two classes do: nothing can be probed then.
    """
    found = np.unique(np.stack([labels, groups])[:, labels != ""], axis=1)[0]
    names, spread = np.unique(found, return_counts=True)
    usable = np.flatnonzero(np.isin(labels, names[spread > 1]))
    frequent, counts = np.unique(labels[usable], return_counts=True)
    if len(frequent) < 2:
        return None
    kept = frequent[np.argsort(-counts, kind="stable")[:MAX_CLASSES]]
    rows = usable[np.isin(labels[usable], kept)]
    if len(rows) > MAX_CLIPS:
        rows = np.sort(rng(seeds[0], "probes.clips").choice(rows, MAX_CLIPS, replace=False))
    label, group = (np.unique(values[rows], return_inverse=True)[1] for values in (labels, groups))
    folds = min(FOLDS, int(group.max()) + 1, int(np.bincount(label).max()))
    splits = []
    with expected_warnings_ignored():
        for seed in seeds:
            splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
            splits += [(seed, test) for _, test in splitter.split(rows, label, group)]
    return Task(rows, label, group, splits, rng)


def probe(vectors: Vectors, task: Task, kind: Kind, repeats: int, shuffled: bool = False) -> Probed:
    """Train and test one probe a fold.

    Inputs are standardised on the training fold. ``linear`` is logistic regression; ``mlp`` has one
    hidden layer. Both have the same penalty, for every space: nothing is tuned.

    Parameters
    ----------
    vectors
        Shape (clips, dim); ``task.rows`` of them are read.
    task
        From ``draw_task``.
    repeats
        Bootstrap resamples behind the intervals.
    shuffled
        Permute the labels within each training fold: the control has the same class counts and
        nothing to learn, so it must end at chance.
    """
    inputs = np.asarray(vectors[task.rows], np.float32)
    targets = [_training_labels(task, fold, shuffled) for fold in range(len(task.folds))]
    fit = _fit_linear if kind == "linear" else _fit_mlp
    scores = fit(inputs, targets, task)
    tests = [test for _, test in task.folds]
    hits = [score.argmax(axis=1) == task.labels[test] for score, test in zip(scores, tests, strict=True)]
    seeds = [seed for seed, _ in task.folds]
    known, entropy = pointwise_bits(scores, [task.labels[test] for test in tests], targets, seeds)
    return Probed(
        estimate(hits, task, repeats),
        estimate(known, task, repeats),
        round(float(np.concatenate(entropy).mean()), 5),
    )


def logistic(inputs: Vectors, labels: NDArray[Any]) -> LogisticRegression:
    """Fit the logistic regression of every linear probe.

    Parameters
    ----------
    inputs
        Standardised, shape (clips, dim).
    labels
        Shape (clips,): two classes at least.
    """
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=LINEAR_STEPS)
    with expected_warnings_ignored():
        return model.fit(inputs, labels)


@contextmanager
def expected_warnings_ignored() -> Iterator[None]:
    """Hold back what probes warn of by design, while the block runs.

    Filters are those of the whole process: where several threads probe, one block has to be around all.
    """
    with warnings.catch_warnings():
        # An early stop regularises: the accuracy has long settled, and a control has nothing to converge to.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # A class may have fewer groups than there are folds.
        warnings.filterwarnings("ignore", "The least populated class")
        yield


def estimate(values: Sequence[NDArray[np.bool_ | np.float64]], task: Task, repeats: int) -> Estimate:
    """Average over the held-out clips of all fits, with an interval over groups and fits.

    Both are drawn with replacement and a clip weighs by the product (the pigeonhole bootstrap, Owen
    2007): clips of a group are not independent, nor are those that one fit judged.

    Parameters
    ----------
    values
        One array a fit, in the order of its held-out clips.
    """
    fits, groups = len(values), int(task.groups.max()) + 1
    where = [task.groups[test] for _, test in task.folds]
    sums = np.stack([np.bincount(g, v, groups) for g, v in zip(where, values, strict=True)])
    counts = np.stack([np.bincount(g, minlength=groups) for g in where])
    random = task.rng(task.folds[0][0], "probes.bootstrap")
    of_fits = random.multinomial(fits, np.full(fits, 1 / fits), repeats)
    of_groups = random.multinomial(groups, np.full(groups, 1 / groups), repeats)
    drawn = ((of_fits @ counts) * of_groups).sum(axis=1)
    with np.errstate(invalid="ignore"):  # 0/0 is NaN: nothing of a fit was drawn
        means = ((of_fits @ sums) * of_groups).sum(axis=1) / drawn
    value = float(sums.sum() / counts.sum())
    samples = estimable(means, groups)
    return Estimate(round(value, 5), interval(value, samples), samples)


def _training_labels(task: Task, fold: int, shuffled: bool) -> Integers:
    """Labels of the clips that a fit trains on, in their order."""
    seed, test = task.folds[fold]
    labels = np.delete(task.labels, test)
    return task.rng(seed, "probes.control", fold).permutation(labels) if shuffled else labels


def _standardised(inputs: Vectors, test: Integers) -> tuple[Floats, Floats]:
    """Training and held-out inputs, with zero mean and unit deviation over the training ones."""
    train = np.delete(inputs, test, axis=0)
    mean, deviation = train.mean(axis=0), train.std(axis=0) + 1e-6
    return (train - mean) / deviation, (inputs[test] - mean) / deviation


def _fit_linear(inputs: Vectors, targets: list[Integers], task: Task) -> list[Floats]:
    """Return log-probabilities (held out, classes) of every fit; a class never seen has -inf."""
    scores = []
    for (_, test), labels in zip(task.folds, targets, strict=True):
        train, held_out = _standardised(inputs, test)
        score = np.full((len(test), task.classes), -np.inf, np.float32)
        scores.append(score)
        if (labels == labels[0]).all():  # the groups of all other classes are held out together
            score[:, labels[0]] = 0
            continue
        model = logistic(train, labels)
        logits = model.decision_function(held_out)
        if logits.ndim == 1:  # of two classes scikit-learn gives the second one's
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
        score[:, model.classes_] = log_softmax(logits, axis=1)
    return scores


def _fit_mlp(inputs: Vectors, targets: list[Integers], task: Task) -> list[Floats]:
    """Return log-probabilities (held out, classes) of every fit; all fits are trained in one batch.

    Adam treats every weight by itself, so the fits of a batch do not see each other. Training folds
    are padded to the longest one with clips of no weight.
    """
    parts = [_standardised(inputs, test) for _, test in task.folds]
    longest = max(len(labels) for labels in targets)
    train, label = torch.zeros(len(parts), longest, inputs.shape[1]), torch.full((len(parts), longest), -1)
    for index, ((known, _), labels) in enumerate(zip(parts, targets, strict=True)):
        train[index, : len(known)] = torch.from_numpy(known)
        label[index, : len(labels)] = torch.from_numpy(labels)
    random = torch.Generator().manual_seed(task.folds[0][0])
    sizes = [(inputs.shape[1], MLP_WIDTH), (MLP_WIDTH, task.classes)]
    weights = [torch.randn(len(parts), *size, generator=random) * (2 / size[0]) ** 0.5 for size in sizes]
    biases = [torch.zeros(len(parts), 1, size[1]) for size in sizes]
    parameters = [parameter.requires_grad_() for parameter in (*weights, *biases)]
    optimiser = torch.optim.Adam(parameters, MLP_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, MLP_RATE, MLP_STEPS, pct_start=0.1)
    counts = torch.tensor([len(labels) for labels in targets])
    with torch.enable_grad():
        for _ in range(MLP_STEPS):
            optimiser.zero_grad()
            logits = _mlp(train, weights, biases)
            losses = torch.nn.functional.cross_entropy(
                logits.transpose(1, 2), label, ignore_index=-1, reduction="none"
            ).sum(dim=1)
            penalty = sum(weight.square().sum(dim=(1, 2)) for weight in weights) / (2 * INVERSE_PENALTY)
            ((losses + penalty) / counts).sum().backward()
            optimiser.step()
            schedule.step()
    with torch.inference_mode():
        tests = [torch.from_numpy(held_out) for _, held_out in parts]
        return [
            _mlp(test, [w[i] for w in weights], [b[i] for b in biases]).log_softmax(dim=-1).numpy()
            for i, test in enumerate(tests)
        ]


def _mlp(inputs: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    return torch.relu(inputs @ weights[0] + biases[0]) @ weights[1] + biases[1]
