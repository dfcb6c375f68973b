"""The whole evaluation without a recipe: of a model, of any function that embeds, of a file of vectors."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from numpy.typing import ArrayLike

from intervox.backbones.load import load_backbone
from intervox.backbones.trained import base_of
from intervox.errors import IntervoxError
from intervox.evaluation.baselines.peers import CallableEncoder
from intervox.evaluation.embeddings import check_space, embedding_test_sets, read_embeddings
from intervox.evaluation.evaluate import Compared, measure
from intervox.evaluation.findings import Backbone as MeasuredBackbone
from intervox.evaluation.loading import load_test_sets, sources
from intervox.evaluation.protocols import Protocol, find_protocols
from intervox.evaluation.protocols.base import are_known, why_no_keywords, why_no_verification
from intervox.evaluation.representations import (
    BACKBONE,
    FROZEN,
    Representation,
    raw_representations,
    subspace_representations,
)
from intervox.evaluation.results import Metrics
from intervox.evaluation.separation import SpaceEvidence
from intervox.evaluation.test_sets import TestSet
from intervox.locks import in_turn
from intervox.model.files import DEFAULT
from intervox.model.model import SubspaceModel
from intervox.parallel import default_workers
from intervox.recipe import EvaluationSettings, FeatureSettings
from intervox.reporting.results import forget_results, write_results

_NEEDS_CELLS = (
    "Not measured: baselines other than raw layers, and scoring other than the cosine; they are fitted on "
    "the cells of a corpus, which `intervox run` has."
)


def benchmark_model(
    protocols: str | Path | Sequence[str],
    model: SubspaceModel | str | Path = DEFAULT,
    folder: str | Path | None = None,
    settings: EvaluationSettings | None = None,
    workers: int | None = None,
) -> Metrics:
    """Measure a model on human recordings, clean and degraded, beside the raw layers of its backbone.

    Parameters
    ----------
    protocols
        The path of a manifest, which may lack the speakers or the contents, or names of evaluation sets.
    model
        A model, or the name or folder of one.
    folder
        Where ``metrics.json``, ``report.html`` and ``trials/`` go; ``runs/<protocol>`` by default.

    Raises
    ------
    IntervoxError
        A manifest or protocol is missing or nothing can be measured on it, the folder is that of a
        recipe's run, or the model can't be loaded.

    Examples
    --------
    >>> metrics = benchmark_model("mine.csv")  # doctest: +SKIP
    >>> metrics.verification["mine"].own["speaker"]["clean"]["different_text"].eer  # doctest: +SKIP
    0.1
    """
    chosen = _settings(settings, str(protocols) if isinstance(protocols, Path) else protocols)
    found = find_protocols(chosen.protocols, chosen.max_clips, partial=True)
    if not found:
        raise IntervoxError("there is nothing to measure on: give a manifest, or set INTERVOX_DATA")
    home = _home(folder, "-".join(protocol.name for protocol in found))
    loaded = model if isinstance(model, SubspaceModel) else SubspaceModel.from_pretrained(model)
    backbone, frozen = loaded.own_backbone(), load_backbone(base_of(loaded.backbone_name))
    encoders = {BACKBONE: backbone, FROZEN: frozen}
    features = FeatureSettings(window_seconds=loaded.window_seconds)
    with _emptied(home):
        cache, frames = home / "features", loaded.reads_frames
        test_sets = load_test_sets(sources(found), encoders, chosen, features, cache, frames)
        own = subspace_representations(loaded)
        calibrations = {
            space: line for space, line in loaded.calibration.items() if loaded.factors[space] == "speaker"
        }
        compared = Compared(
            loaded.factors,
            [*own, *raw_representations(len(loaded.mean))],
            evidence=SpaceEvidence(own, loaded) if chosen.separation else None,
            calibrations=calibrations,
        )
        about = MeasuredBackbone(name=loaded.backbone_name, fingerprint=backbone.fingerprint)
        left_out = [*_left_out(found), _NEEDS_CELLS]
        return _benchmark(compared, test_sets, chosen, home, workers, about, left_out)


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
        Names of evaluation sets, paths of manifests, or ``auto``; by default those of the settings.
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
    found = find_protocols(chosen.protocols, chosen.max_clips, partial=True)
    space = Representation(name, lambda vectors: vectors[:, 0], name)
    # Nobody can tell whether a function without a fingerprint is the same next time.
    with _emptied(home), TemporaryDirectory() as scratch:
        cache = home / "features" if fingerprint else Path(scratch)
        test_sets = load_test_sets(sources(found), {name: encoder}, chosen, FeatureSettings(), cache)
        compared = _compared({name: ""}, [space], chosen)
        return _benchmark(compared, test_sets, chosen, home, left_out=_left_out(found))


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
    compared = _compared(given.factors, given.representations(), chosen)
    with _emptied(home):
        return _benchmark(compared, test_sets, chosen, home, workers)


def _home(folder: str | Path | None, name: str) -> Path:
    home = Path(folder or Path("runs") / name)
    if (home / "recipe.yaml").exists():
        raise IntervoxError(
            f"{home} holds the run of a recipe, whose results would be lost: name another folder"
        )
    return home


@contextmanager
def _emptied(home: Path) -> Iterator[None]:
    """Remove an earlier evaluation, and let no other command write here meanwhile."""
    home.mkdir(parents=True, exist_ok=True)
    with in_turn(home / ".lock", home):
        forget_results(home)
        yield


def _settings(
    settings: EvaluationSettings | None, protocols: str | Sequence[str] | None
) -> EvaluationSettings:
    chosen = settings or EvaluationSettings()
    named = (protocols,) if isinstance(protocols, str) else tuple(protocols or ())
    return chosen.model_copy(update={"protocols": named}) if named else chosen


def _left_out(protocols: Sequence[Protocol]) -> list[str]:
    """Say what the labels of protocols leave open, a sentence each."""
    sentences = []
    for protocol in protocols:
        speakers, contents = (
            [getattr(row, name) for row in protocol.rows] for name in ("speaker", "content")
        )
        if why := why_no_verification(speakers):
            sentences.append(f"Not measured on {protocol.name}: speaker verification, as {why}.")
        if why := why_no_keywords(speakers, contents):
            sentences.append(f"Not measured on {protocol.name}: keywords, as {why}.")
        elif not are_known(speakers):
            sentences.append(
                f"No speakers are given for {protocol.name}: the examples of a keyword may be of the people "
                "who are tested, which flatters."
            )
    return sentences


def _compared(
    spaces: dict[str, str], representations: Sequence[Representation], settings: EvaluationSettings
) -> Compared:
    evidence = SpaceEvidence(representations) if settings.separation else None
    return Compared(spaces, representations, evidence=evidence)


def _benchmark(
    compared: Compared,
    test_sets: Sequence[TestSet],
    settings: EvaluationSettings,
    folder: Path,
    workers: int | None = None,
    backbone: MeasuredBackbone | None = None,
    left_out: Sequence[str] = (),
) -> Metrics:
    cores = workers or default_workers()
    metrics = measure(compared, test_sets, settings, cores, folder.name, backbone=backbone)
    metrics = metrics.model_copy(update={"left_out": list(left_out)})
    write_results(folder, metrics, compared, test_sets, None, settings.recordings)
    return metrics
