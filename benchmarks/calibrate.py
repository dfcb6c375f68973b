"""Calibrate the packaged model: the default decision, and the matching of words.

The operating point is that of the model's references. The matching is fitted on the corpus of
``calibration.yaml`` (Debian's flite and Piper: voices that training never heard), which is rendered. Then
the default decision is measured on the human corpora at hand, and the model's folder is written anew.
"""

import argparse
import hashlib
import shutil
import tempfile
from pathlib import Path

import numpy as np

from intervox import SubspaceModel, pipeline
from intervox.benchmarking import benchmark_model
from intervox.evaluation.loading import held_out
from intervox.evaluation.matching import matching_on_held_out
from intervox.evaluation.studies.sweep import light
from intervox.evaluation.systems import default_decisions
from intervox.evaluation.verification import FALSE_ACCEPTS
from intervox.export import export_folder
from intervox.model.files import CONFIG, GRAPH, WEIGHTS, default_model_folder
from intervox.recipe import EvaluationSettings

FILES = (CONFIG, WEIGHTS, GRAPH, "README.md")


def calibrated(folder: Path) -> SubspaceModel:
    """Fit the packaged model's calibration on the corpus of ``calibration.yaml``."""
    run = pipeline.open_run(Path(__file__).with_name("calibration.yaml"), folder)
    own = held_out(pipeline.synth(run))
    assert own is not None, "the recipe has held-out cells"
    model = SubspaceModel.from_pretrained("default")
    assert model.references is not None, "the packaged model carries references"
    for space, factor in model.factors.items():
        if factor != "content":
            line = model.calibration[space]
            strangers = line.log_odds(model.references.impostor_scores(space, factor))
            accept_at = round(float(np.quantile(strangers, 1 - FALSE_ACCEPTS)), 5)
            model.calibration = model.calibration | {space: line._replace(accept_at=accept_at)}
    matching = matching_on_held_out(model, own, folder / "features")
    assert matching is not None, "texts are said by several voices"
    model.matching = matching
    return model


def write(model: SubspaceModel, folder: Path) -> None:
    """Export the model with weights of eight bits, and put it with its hashes into the package."""
    with tempfile.TemporaryDirectory() as temporary:
        exported = export_folder(model, Path(temporary) / "model", "int8").folder
        for name in FILES:
            shutil.copyfile(exported / name, folder / name)
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in FILES]
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
