"""The whole evaluation for embeddings that are not ours: a function, or a file of vectors."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from numpy.typing import ArrayLike

from intervox.errors import IntervoxError
from intervox.evaluation.baselines.peers import CallableEncoder
from intervox.evaluation.embeddings import check_space, embedding_test_sets, read_embeddings
from intervox.evaluation.evaluate import Compared, measure
from intervox.evaluation.loading import load_test_sets, sources
from intervox.evaluation.protocols import find_protocols
from intervox.evaluation.representations import Representation
from intervox.evaluation.results import Metrics
from intervox.evaluation.separation import SpaceEvidence
from intervox.evaluation.test_sets import TestSet
from intervox.parallel import default_workers
from intervox.recipe import EvaluationSettings, FeatureSettings
from intervox.reporting.results import forget_results, write_results


def benchmark(
    embed: Callable[..., ArrayLike],
    name: str,
    dim: int,
    folder: str | Path | None = None,
    protocols: str | Sequence[str] | None = None,
    fingerprint: str | None = None,
    batched: bool = True,
    settings: EvaluationSettings | None = None,
) -> Metrics:
    """Measure any embedder on human recordings, clean and degraded.

    Parameters
    ----------
    embed
        Takes a list of 16 kHz float32 arrays of shape (samples,) and gives vectors (clips, dim); with
        ``batched=False`` one array and one vector (dim,).
    name, dim
        Of the embedding.
    folder
        Where ``metrics.json``, ``report.html`` and ``trials/`` go; ``runs/<name>`` by default.
    protocols
        Names of evaluation sets, or ``auto``; by default those of the settings.
    fingerprint
        Names the weights and settings behind the function, to cache its vectors under; without one
        they are made anew in every call.

    Raises
    ------
    IntervoxError
        A protocol is missing, the folder is that of a recipe's run, the function's vectors are not as
        promised, or its name won't do.
    """
    check_space(name)
    chosen = _settings(settings, protocols)
    home = _home(folder, name)
    encoder = CallableEncoder(embed, name, dim, fingerprint, batched)
    found = find_protocols(chosen.protocols, chosen.max_clips)
    forget_results(home)
    space = Representation(name, lambda vectors: vectors[:, 0], name)
    # Nobody can tell whether a function without a fingerprint is the same next time.
    with TemporaryDirectory() as scratch:
        cache = home / "features" if fingerprint else Path(scratch)
        test_sets = load_test_sets(sources(found), {name: encoder}, chosen, FeatureSettings(), cache)
        return _benchmark({name: ""}, [space], test_sets, chosen, home)


def benchmark_embeddings(
    path: Path,
    folder: Path | None = None,
    protocols: str | Sequence[str] | None = None,
    settings: EvaluationSettings | None = None,
    workers: int | None = None,
) -> Metrics:
    """Measure the vectors of an ``.npz`` file; see ``embeddings`` for what it holds.

    Parameters
    ----------
    folder
        Where the results go; ``runs/<file name>`` by default.
    protocols
        Whose labels to take where the file has paths and no labels; by default those of the settings.

    Raises
    ------
    IntervoxError
        The file, a protocol or the folder won't do, or protocols are named for a file with labels.
    """
    chosen = _settings(settings, protocols)
    home = _home(folder, path.stem)
    given = read_embeddings(path)
    labelled = "speaker" in given.columns
    if labelled and protocols:
        raise IntervoxError(
            f"{path} has labels of its own, so that no protocol is asked for them: leave --protocol out, or "
            "the column speaker"
        )
    found = [] if labelled else find_protocols(chosen.protocols)
    test_sets = embedding_test_sets(given, found, chosen.max_trials)
    forget_results(home)
    return _benchmark(given.factors, given.representations(), test_sets, chosen, home, workers)


def _home(folder: str | Path | None, name: str) -> Path:
    home = Path(folder or Path("runs") / name)
    if (home / "recipe.yaml").exists():
        raise IntervoxError(
            f"{home} holds the run of a recipe, whose results would be lost: name another folder"
        )
    return home


def _settings(
    settings: EvaluationSettings | None, protocols: str | Sequence[str] | None
) -> EvaluationSettings:
    chosen = settings or EvaluationSettings()
    named = (protocols,) if isinstance(protocols, str) else tuple(protocols or ())
    return chosen.model_copy(update={"protocols": named}) if named else chosen


def _benchmark(
    spaces: Mapping[str, str],
    representations: Sequence[Representation],
    test_sets: Sequence[TestSet],
    settings: EvaluationSettings,
    folder: Path,
    workers: int | None = None,
) -> Metrics:
    evidence = SpaceEvidence(representations) if settings.separation else None
    compared = Compared(dict(spaces), representations, evidence=evidence)
    metrics = measure(compared, test_sets, settings, workers or default_workers(), folder.name)
    write_results(folder, metrics, compared, test_sets, None, settings.recordings)
    return metrics
