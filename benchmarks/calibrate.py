"""Make the packaged model of a finished run of the recipe `default`: fit its matching, export it, copy it.

The matching of words is fitted on the corpus of ``calibration.yaml`` (Debian's flite and Piper: voices that
training never heard), which is rendered: it holds more sentences than the run's held-out cells. All else,
the operating point too, is as the run's evaluation left it.
"""

import argparse
import hashlib
import shutil
from pathlib import Path

from intervox import SubspaceModel, open_run, pipeline
from intervox.evaluation.loading import held_out
from intervox.evaluation.matching import matching_on_held_out
from intervox.export import export_folder
from intervox.model.files import DEFAULT

PACKAGED = Path(__file__).parents[1] / "src" / "intervox" / "model" / DEFAULT


def calibrated(name: str, folder: Path) -> SubspaceModel:
    """Fit a model's matching on the corpus of ``calibration.yaml``."""
    run = open_run(Path(__file__).with_name("calibration.yaml"), folder)
    own = held_out(pipeline.synth(run))
    assert own is not None, "the recipe has held-out cells"
    model = SubspaceModel.from_pretrained(name)
    matching = matching_on_held_out(model, own, folder / "features")
    assert matching is not None, "texts are said by several voices"
    model.matching = matching
    return model


def package(model: SubspaceModel, folder: Path) -> None:
    """Export a model with weights of eight bits, and put it with its hashes into the package."""
    exported = export_folder(model, folder, "int8").folder
    shutil.rmtree(PACKAGED, ignore_errors=True)
    shutil.copytree(exported, PACKAGED, ignore=shutil.ignore_patterns("example.py"))
    files = sorted(path.relative_to(PACKAGED) for path in PACKAGED.rglob("*") if path.is_file())
    sums = [
        f"{hashlib.sha256((PACKAGED / file).read_bytes()).hexdigest()}  {file.as_posix()}\n" for file in files
    ]
    (PACKAGED / "SHA256SUMS").write_text("".join(sums), encoding="ascii")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="runs/default", help="the run")
    parser.add_argument("--folder", type=Path, default=Path("runs/calibration"))
    options = parser.parse_args()
    package(calibrated(options.model, options.folder), options.folder / "export")
    size = sum(file.stat().st_size for file in PACKAGED.rglob("*") if file.is_file())
    print(f"{PACKAGED}: {size / 1e6:.1f} MB")
