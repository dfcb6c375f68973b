"""Adaptation as a step of a run."""

from pathlib import Path

from intervox import pipeline


def adapt_run(run: pipeline.Run) -> Path:
    """Adapt the backbone of a run whose corpus, features and model are there; returns the adapter's folder.

    Raises
    ------
    IntervoxError
        An earlier step is missing or of another recipe.
    """
    from intervox.adaptation.training import adapt

    corpus, features = pipeline._corpus_and_features(run)
    pipeline._training_record(run, features)
    folder = run.folder / "adapter"
    with pipeline._logged(run, "adapt"):
        adapt(corpus, features, run.recipe, run.folder / "model", folder)
    return folder
