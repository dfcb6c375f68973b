"""People or keywords that are known by a few examples: enrol, compare, accept or refuse, keep in a file."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.special import logit
from sklearn.base import BaseEstimator, ClassifierMixin

from intervox.audio import AudioSource
from intervox.errors import IntervoxError
from intervox.model.loading import DEFAULT
from intervox.model.model import SubspaceModel
from intervox.storage import atomic_path

UNKNOWN = "unknown"
"""What ``predict`` says of a clip that is close enough to nobody."""

_METADATA = "intervox"
MIN_FALSE_ACCEPTS = 3
"""A rate is set where at least so many scores lie above the threshold: fewer say nothing about it."""


class Enrolled(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Names with examples, as an open-set classifier in scikit-learn's manner.

    A name's prototype is the mean of its examples' embeddings, scaled to unit length; a clip's score
    is the cosine with it.

    Parameters
    ----------
    model
        A model, or the name or folder of one.
    space
        Subspace whose embeddings are compared.
    threshold
        Cosine from which on a clip is accepted; by default where the calibrated probability of "the
        same" is a half at even odds.

    Attributes
    ----------
    counts_
        Name to how many examples it was enrolled from.
    """

    def __init__(
        self,
        model: SubspaceModel | str | Path = DEFAULT,
        space: str = "speaker",
        threshold: float | None = None,
    ) -> None:
        self.model = model
        self.space = space
        self.threshold = threshold
        self.counts_: dict[str, int] = {}
        self._sums: dict[str, NDArray[np.float32]] = {}
        self._loaded: dict[str, SubspaceModel] = {}

    @property
    def model_(self) -> SubspaceModel:
        """The model, loaded on first use."""
        model = self.model
        if not isinstance(model, SubspaceModel):
            if str(model) not in self._loaded:
                self._loaded = {str(model): SubspaceModel.from_pretrained(model)}
            model = self._loaded[str(model)]
        model.check_space(self.space)
        return model

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The names, sorted: the order of all columns."""
        return np.array(sorted(self.counts_), np.str_)

    @property
    def prototypes_(self) -> NDArray[np.float32]:
        """What clips are compared with: unit vectors, shape (names, dim)."""
        if not self.counts_:
            raise IntervoxError("nobody is enrolled: call enrol or fit with examples first")
        sums = np.stack([self._sums[name] for name in self.classes_])
        return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), np.float32)

    @property
    def threshold_(self) -> float:
        """The cosine from which on a clip is accepted."""
        if self.threshold is not None:
            return self.threshold
        return self.score_at(0.5)

    def score_at(self, probability: float, prior: float = 0.5) -> float:
        """Return the cosine at which "the same" has a probability, given a prior; both in (0, 1)."""
        self.model_.probability(np.zeros(1), self.space, prior)
        slope, offset = self.model_.calibration[self.space]
        return float((logit(probability) - logit(prior) - offset) / slope)

    def fit(self, X: Iterable[AudioSource], y: Sequence[str]) -> Self:
        """Forget everybody, and enrol a name for each clip.

        Parameters
        ----------
        X
            Clips, as ``SubspaceModel.encode`` takes them; a generator is read as it is needed.
        y
            Their names; those that are the same share a prototype.

        Raises
        ------
        IntervoxError
            Names and clips differ in number, a name is empty or ``unknown``, or a clip can't be
            embedded. Who was enrolled before stays.
        """
        names = [_checked(name) for name in y]
        vectors = self._embed(X)
        if len(vectors) != len(names) or not names:
            raise IntervoxError(f"{len(vectors)} clips and {len(names)} names: give a name for each clip")
        self.counts_.clear()
        self._sums.clear()
        for name in dict.fromkeys(names):
            self._add(name, vectors[[other == name for other in names]])
        return self

    def enrol(self, name: str, clips: Iterable[AudioSource]) -> Self:
        """Add a name, or further examples of a known one.

        Raises
        ------
        IntervoxError
            The name is empty or ``unknown``, no clips are given, or one can't be embedded. Nothing
            is changed then.
        """
        checked = _checked(name)
        vectors = self._embed(clips)
        if not len(vectors):
            raise IntervoxError(f"no clips are given to enrol {name!r}: one is enough, three are better")
        self._add(checked, vectors)
        return self

    def forget(self, name: str) -> Self:
        """Take a name out.

        Raises
        ------
        IntervoxError
            It is not enrolled.
        """
        self.check_name(name)
        del self.counts_[name], self._sums[name]
        return self

    def check_name(self, name: str) -> None:
        """Raise an ``IntervoxError`` that lists the names unless ``name`` is one of them."""
        if name not in self.counts_:
            raise IntervoxError(f"{name!r} is not enrolled: there are {', '.join(self.classes_) or 'none'}")

    def decision_function(self, X: Iterable[AudioSource]) -> NDArray[np.float32]:
        """Score clips against every name: cosines, shape (clips, names)."""
        return self.model_.similarity(self._embed(X), self.prototypes_)

    def predict_proba(self, X: Iterable[AudioSource]) -> NDArray[np.float64]:
        """Return the calibrated probability that a clip is of a name, at even odds.

        Returns
        -------
        ndarray
            Shape (clips, names). Each column is a question of its own, as of a multilabel
            classifier: a row sums to less than 1 for a stranger.
        """
        return self.model_.probability(self.decision_function(X), self.space)

    def predict(self, X: Iterable[AudioSource]) -> NDArray[np.str_]:
        """Name each clip: the closest name, or ``unknown`` below the threshold; shape (clips,)."""
        scores = self.decision_function(X)
        found = self.classes_[scores.argmax(axis=1)]
        return np.where(scores.max(axis=1) >= self.threshold_, found, UNKNOWN)

    def set_threshold(self, scores: NDArray[np.floating], rate: float) -> Self:
        """Put the threshold where a share of scores that should be refused is accepted.

        Parameters
        ----------
        scores
            Of clips against names that are not theirs, of any shape.
        rate
            In (0, 1).

        Raises
        ------
        IntervoxError
            The rate is out of range, or too small for so few scores.
        """
        if not isinstance(rate, float | int) or not 0 < rate < 1:
            raise IntervoxError(f"the rate is {rate}: give a share above 0 and below 1, such as 0.01")
        accepted = int(rate * scores.size)
        if accepted < MIN_FALSE_ACCEPTS:
            raise IntervoxError(
                f"{scores.size:,} scores are too few for a rate of {rate}: at least "
                f"{int(np.ceil(MIN_FALSE_ACCEPTS / rate)):,} are needed; give more impostors"
            )
        # Just above the highest score that must be refused.
        highest = np.partition(scores.ravel(), -accepted - 1)[-accepted - 1]
        self.threshold = float(np.nextafter(np.float32(highest), np.float32(2)))
        return self

    def save(self, path: str | Path) -> None:
        """Write names and prototypes into one ``.safetensors`` file; the model stays where it is."""
        parameters = self.get_params(deep=False)
        del parameters["model"]
        about = {
            "kind": type(self).__name__,
            "model": self.model_.name,
            "key": self.model_.key,
            "parameters": parameters,
            "counts": self.counts_,
        }
        # One array for all: a name may be anything, a tensor's name may not.
        sums = {"sums": np.stack([self._sums[name] for name in self.counts_])} if self.counts_ else {}
        with atomic_path(Path(path)) as temporary:
            # A threshold found with NumPy is a scalar of its own.
            save_file(sums, temporary, {_METADATA: json.dumps(about, default=lambda value: value.item())})

    @classmethod
    def load(cls, path: str | Path, model: SubspaceModel | str | Path | None = None) -> Self:
        """Read what ``save`` wrote.

        Parameters
        ----------
        model
            By default the one that the file names, where it was.

        Raises
        ------
        IntervoxError
            The file is missing, damaged, of another kind or of another model.
        """
        about, sums = _read(Path(path), cls.__name__)
        source = model if model is not None else about["model"]
        if not source:
            raise IntervoxError(f"{path} does not say which model it belongs to: give the model")
        loaded = cls(source, **about["parameters"])
        if loaded.model_.key != about["key"]:
            raise IntervoxError(
                f"{path} was enrolled with another model than {loaded.model_.name or 'this one'}: give that "
                "model, or enrol again"
            )
        loaded.counts_.update(about["counts"])
        loaded._sums.update(zip(about["counts"], sums, strict=True))
        return loaded

    def _embed(self, clips: Iterable[AudioSource]) -> NDArray[np.float32]:
        return self.model_.encode(clips)[self.space]

    def _add(self, name: str, vectors: NDArray[np.float32]) -> None:
        self._sums[name] = np.asarray(self._sums.get(name, 0) + vectors.sum(axis=0), np.float32)
        self.counts_[name] = self.counts_.get(name, 0) + len(vectors)

    def __sklearn_is_fitted__(self) -> bool:
        return bool(self.counts_)


def _checked(name: str) -> str:
    if not isinstance(name, str) or not name or name == UNKNOWN or not name.isprintable():
        raise IntervoxError(f"{name!r} can't be a name: give a text, and not {UNKNOWN!r}")
    return str(name)


def _read(path: Path, kind: str) -> tuple[dict[str, Any], NDArray[np.float32]]:
    if not path.is_file():
        raise IntervoxError(f"{path} is not a file: make it with `intervox enrol` or save")
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads(file.metadata()[_METADATA])
            found = about["kind"]
            sums = file.get_tensor("sums") if about["counts"] else np.zeros((0, 0), np.float32)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise IntervoxError(f"{path} is no file of enrolled names: make it with `intervox enrol`") from error
    if found != kind:
        raise IntervoxError(f"{path} is the file of a {found}, not of a {kind}: give the other one")
    return about, sums
