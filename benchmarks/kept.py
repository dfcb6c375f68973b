"""Draw docs/kept.svg: what the raw model and each subspace know of the speaker and of the content.

Read from the metrics of a run, so that a new model has its picture by one command:

    python benchmarks/kept.py runs/quickstart
"""

import sys
from pathlib import Path

from intervox.evaluation.results import METRICS, Metrics
from intervox.reporting.opening import kept_picture

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "kept.svg"


def main(run: Path) -> None:
    """Write the picture of a run."""
    picture = kept_picture(Metrics.read(run / METRICS), alone=True)
    if not picture:
        sys.exit(f"{run} has no shares kept: evaluate it with separation on")
    PICTURE.write_text(picture + "\n", encoding="utf-8")
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart"))
