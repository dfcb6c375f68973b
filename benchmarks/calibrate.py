"""Calibrate the packaged model: durations, the default decision, and the matching of words.

Renders the corpus of ``calibration.yaml`` (Debian's flite and Piper: voices that training never heard),
fits on it, measures the default decision on the human corpora at hand, and writes the model's folder
anew. The maps and the calibration of single words stay as they are.
"""

import argparse
import hashlib
from pathlib import Path

from intervox import SubspaceModel, pipeline
from intervox.backbones.load import load_backbone
from intervox.benchmarking import benchmark_model
from intervox.evaluation.loading import held_out, load_test_sets
from intervox.evaluation.matching import matching_on_held_out
from intervox.evaluation.representations import BACKBONE, subspace_representations
from intervox.evaluation.studies.sweep import light
from intervox.evaluation.systems import default_decisions
from intervox.evaluation.verification import fit_on_held_out
from intervox.model.loading import CONFIG, WEIGHTS, default_model_folder
from intervox.recipe import EvaluationSettings

CARD = "README.md"


def calibrated(folder: Path) -> SubspaceModel:
    """Fit the packaged model's calibration on the corpus of ``calibration.yaml``."""
    run = pipeline.open_run(Path(__file__).with_name("calibration.yaml"), folder)
    own = held_out(pipeline.synth(run))
    assert own is not None, "the recipe has held-out cells"
    model = SubspaceModel.from_pretrained("default")
    encoders = {BACKBONE: load_backbone(model.backbone_name)}
    settings = run.recipe.evaluation
    (test_set,) = load_test_sets([own], encoders, settings, run.recipe.features, folder / "features")
    for space in subspace_representations(model):
        if model.factors[space.name] != "content":
            fit = fit_on_held_out(space, test_set, model.factors[space.name])
            model.calibration = model.calibration | {space.name: [round(value, 5) for value in fit]}
    matching = matching_on_held_out(model, own, folder / "features")
    assert matching is not None, "texts are said by several voices"
    model.matching = matching
    return model


def write(model: SubspaceModel, folder: Path) -> None:
    """Write the model's files and their hashes; the card is not measured here."""
    card = (folder / CARD).read_bytes()
    model.save_pretrained(folder)
    (folder / CARD).write_bytes(card)
    sums = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in (CONFIG, WEIGHTS, CARD)
    ]
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="ascii")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/calibration"))
    options = parser.parse_args()
    model = calibrated(options.folder)
    write(model, default_model_folder())
    print("calibration:", model.calibration)
    people = benchmark_model(["auto"], "default", options.folder / "people", light(EvaluationSettings()))
    model.measured = default_decisions(people)
    write(model, default_model_folder())
    for space, sets in model.measured.items():
        for name, (accepted, refused) in sets.items():
            print(f"{space}, {name}: {accepted:.1%} of strangers accepted, {refused:.1%} of targets refused")
