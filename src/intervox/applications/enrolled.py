"""People or keywords that are known by a few examples: enrol, compare, accept or refuse, keep in a file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from intervox.applications.estimator import Estimator
from intervox.applications.name_files import About, damaged, read, write
from intervox.applications.normalise import Cohort
from intervox.audio import SAMPLE_RATE, AudioSource, Waveform, load_audio
from intervox.errors import IntervoxError
from intervox.model.decision import EVEN, Calibration, logit
from intervox.model.embedder import Embedder, is_one_clip
from intervox.model.files import DEFAULT
from intervox.model.loading import load_model

UNKNOWN = "unknown"
"""What ``predict`` says of a clip that is close enough to nobody."""

_ELSEWHERE = ("model", "people", "speaker")
"""Parameters that a file of names does without: they have files of their own, or belong to one use."""


@dataclass
class _Examples:
    """What is known of a name: the sum of its embeddings, shape (dim,), how many, and how long they are."""

    sum: NDArray[np.float32]
    count: int
    seconds: float


class Enrolled(Estimator):
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
        Minimum cosine to accept; by default the model's operating point.
    """

    def __init__(
        self,
        model: Embedder | str | Path = DEFAULT,
        space: str = "speaker",
        threshold: float | None = None,
    ) -> None:
        self.model = model
        self.space = space
        self.threshold = threshold
        self.cohort: Cohort | None = None
        """What scores are normalised by, where ``calibrate`` has set it."""
        self._known: dict[str, _Examples] = {}
        self._loaded: dict[str, Embedder] = {}

    @property
    def model_(self) -> Embedder:
        """The model, loaded on first use."""
        model = self.model
        if not isinstance(model, Embedder):
            if not isinstance(model, str | Path):
                raise IntervoxError(f"the model is {model!r}: give a model, or the name or folder of one")
            if str(model) not in self._loaded:
                self._loaded = {str(model): load_model(model)}
            model = self._loaded[str(model)]
        model.check_space(self.space)
        return model

    @property
    def counts_(self) -> dict[str, int]:
        """Name to the number of its examples."""
        return {name: known.count for name, known in self._known.items()}

    @property
    def seconds_(self) -> dict[str, float]:
        """Name to the length of its examples, all together."""
        return {name: known.seconds for name, known in self._known.items()}

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The names, sorted: the order of all columns."""
        return np.array(sorted(self._known), np.str_)

    @property
    def prototypes_(self) -> NDArray[np.float32]:
        """What clips are compared with: unit vectors, shape (names, dim)."""
        if not self._known:
            raise IntervoxError("nobody is enrolled: call enrol or fit with examples first")
        sums = np.stack([self._known[name].sum for name in self.classes_])
        return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), np.float32)

    @property
    def threshold_(self) -> float:
        """The minimum cosine to accept, for a second of each."""
        return (
            float(self._calibration.score_at(self._accept_at)) if self.threshold is None else self.threshold
        )

    @property
    def _calibration(self) -> Calibration:
        return self.model_.calibration_of(self.space)

    @property
    def _accept_at(self) -> float:
        """Log odds from which a clip is accepted, where no threshold is set."""
        return self._calibration.accept_at

    @property
    def _name_at(self) -> float:
        """Log odds from which a clip is given the closest name, where no threshold is set."""
        return self._accept_at

    def score_at(self, probability: float, prior: float = EVEN) -> float:
        """Return the cosine at which "the same" has a probability, given a prior; both in (0, 1)."""
        return float(self._calibration.score_at(logit(probability) - logit(prior, "prior")))

    def fit(self, X: Iterable[AudioSource], y: Sequence[str]) -> Self:
        """Forget everybody, and enrol a name for each clip.

        Parameters
        ----------
        X
            Clips, as ``Embedder.encode`` takes them; a generator is read as it is needed.
        y
            Their names; those that are the same share a prototype.

        Raises
        ------
        IntervoxError
            Names and clips differ in number, a name is empty or ``unknown``, or a clip can't be
            embedded. Who was enrolled before stays.
        """
        names = [_checked(name) for name in y]
        vectors, seconds = self._examples(X)
        if len(vectors) != len(names) or not names:
            raise IntervoxError(f"{len(vectors)} clips and {len(names)} names: give a name for each clip")
        self._known.clear()
        for name in dict.fromkeys(names):
            own = [other == name for other in names]
            self.add(name, vectors[own], seconds[own])
        return self

    def enrol(self, name: str, clips: Iterable[AudioSource], as_one: bool = False) -> Self:
        """Add a name, or further examples of a known one.

        Parameters
        ----------
        as_one
            Let all the clips together count as one example: their mean, as long as they are on average. For
            many renditions of one synthesiser, beside which a recording should still count.

        Raises
        ------
        IntervoxError
            The name is empty or ``unknown``, no clips are given, or one can't be embedded. Nothing
            is changed then.
        """
        checked = _checked(name)
        vectors, seconds = self._examples(clips)
        if not len(vectors):
            raise IntervoxError(f"no clips are given to enrol {name!r}: one is enough, three are better")
        if as_one:
            mean = vectors.mean(axis=0, keepdims=True)
            vectors, seconds = mean / np.linalg.norm(mean), seconds.mean(keepdims=True)
        self.add(checked, vectors, seconds)
        return self

    def add(self, name: str, vectors: NDArray[np.float32], seconds: NDArray[np.float64]) -> None:
        """Enrol examples that are embedded already: vectors (clips, dim) and their lengths (clips,)."""
        known = self._known.setdefault(name, _Examples(np.zeros(vectors.shape[1], np.float32), 0, 0.0))
        known.sum = np.asarray(known.sum + vectors.sum(axis=0), np.float32)
        known.count += len(vectors)
        known.seconds += float(seconds.sum())

    def prototype(self, clips: Iterable[AudioSource]) -> NDArray[np.float32]:
        """Return what clips would be known by, without enrolling them: a unit vector (dim,)."""
        mean = self._examples(clips)[0].mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)

    def forget(self, name: str) -> Self:
        """Take a name out.

        Raises
        ------
        IntervoxError
            It is not enrolled.
        """
        self.check_name(name)
        del self._known[name]
        return self

    def check_name(self, name: str) -> None:
        """Raise an ``IntervoxError`` that lists the names unless ``name`` is one of them."""
        if name not in self._known:
            raise IntervoxError(f"{name!r} is not enrolled: there are {', '.join(self.classes_) or 'none'}")

    def decision_function(self, X: Iterable[AudioSource]) -> NDArray[np.float32]:
        """Score clips against every name: shape (clips, names).

        Cosines, or with a cohort what ``Cohort.scores`` makes of them.
        """
        return self.scores(self._embed(X))

    def scores(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score unit vectors (clips, dim) of the subspace against every name: shape (clips, names)."""
        prototypes = self.prototypes_
        if self.cohort is None:
            return self.model_.similarity(vectors, prototypes)
        return self.cohort.scores(vectors, prototypes)

    def predict_proba(self, X: Iterable[AudioSource]) -> NDArray[np.float64]:
        """Return the calibrated probability that a clip is of a name, at even odds.

        Returns
        -------
        ndarray
            Shape (clips, names). Each column is a question of its own, as of a multilabel
            classifier: a row sums to less than 1 for a stranger.
        """
        vectors, seconds = self._examples(X)
        scores = self.scores(vectors)
        return self._calibration.probability(scores, seconds[:, None], self._enrolled_seconds)

    def predict(self, X: Iterable[AudioSource]) -> NDArray[np.str_]:
        """Name each clip: the closest name, or ``unknown`` below the threshold; shape (clips,)."""
        vectors, seconds = self._examples(X)
        scores = self.scores(vectors)
        closest = scores.argmax(axis=1)
        least = np.full(len(scores), self.threshold_)
        if self.threshold is None:
            least = self._calibration.score_at(self._name_at, seconds, self._enrolled_seconds[closest])
        return np.where(scores.max(axis=1) >= least, self.classes_[closest], UNKNOWN)

    @property
    def _enrolled_seconds(self) -> NDArray[np.float64]:
        return np.array([self._known[name].seconds for name in self.classes_])

    def save(self, path: str | Path) -> None:
        """Write names and prototypes into one ``.safetensors`` file; the model stays where it is."""
        parameters = {name: value for name, value in self.get_params().items() if name not in _ELSEWHERE}
        model, kind = self.model_, type(self).__name__
        about = About(kind, model.name, model.key, parameters, self.counts_, self.seconds_)
        write(Path(path), about, [known.sum for known in self._known.values()], self._further())

    @classmethod
    def load(cls, path: str | Path, model: Embedder | str | Path | None = None) -> Self:
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
        about, sums, further = read(Path(path), cls.__name__)
        source = model if model is not None else about.model
        if not source:
            raise IntervoxError(f"{path} does not say which model it belongs to: give the model")
        loaded = cls(source, **about.parameters)
        if loaded.model_.key != about.key:
            raise IntervoxError(
                f"{path} was enrolled with another model than {loaded.model_.name or 'this one'}: give that "
                "model, or enrol again"
            )
        dim = loaded.model_.dims[loaded.space]
        rows = np.zeros((0, dim), np.float32) if sums is None else sums
        if rows.shape != (len(about.counts), dim) or any(each.shape[1] != dim for each in further.values()):
            raise damaged(Path(path))
        for row, (name, count) in zip(rows, about.counts.items(), strict=True):
            loaded._known[name] = _Examples(row, count, about.seconds[name])
        loaded._take(further)
        return loaded

    def _further(self) -> dict[str, NDArray[np.float32]]:
        """Return what a file holds beside the names."""
        return {"cohort": self.cohort.vectors} if self.cohort else {}

    def _take(self, further: Mapping[str, NDArray[np.float32]]) -> None:
        """Take what a file holds beside the names."""
        self.cohort = Cohort(further["cohort"]) if "cohort" in further else None

    def _embed(self, clips: Iterable[AudioSource]) -> NDArray[np.float32]:
        return self.model_.encode(clips)[self.space]

    def _examples(self, clips: Iterable[AudioSource]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Embed clips, which are read as they are needed: vectors (clips, dim) and lengths in seconds."""
        if is_one_clip(clips):
            raise IntervoxError("examples are a list of clips: write [clip]")
        seconds: list[float] = []

        def timed() -> Iterator[Waveform]:
            for wave in map(load_audio, clips):
                seconds.append(len(wave) / SAMPLE_RATE)
                yield wave

        return self._embed(timed()), np.array(seconds)

    def __sklearn_is_fitted__(self) -> bool:
        return bool(self._known)


def _checked(name: str) -> str:
    if not isinstance(name, str) or not name or name == UNKNOWN or not name.isprintable():
        raise IntervoxError(f"{name!r} can't be a name: give a text, and not {UNKNOWN!r}")
    return str(name)
