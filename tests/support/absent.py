"""Commands in an environment that lacks some packages."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.conftest import ROOT

_SITE = """
import os, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in os.environ["ABSENT"].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""

TRAIN = (
    *("torch", "transformers", "accelerate", "pyarrow", "scipy", "threadpoolctl", "joblib", "sklearn"),
    *("pyroomacoustics", "matplotlib", "jinja2", "psutil", "PIL", "pandas", "peft"),
)
"""Modules of the extra ``train``; PyYAML is left out, because huggingface-hub brings it."""


def python(
    words: Sequence[str],
    folder: Path,
    absent: Iterable[str] = (),
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run Python where importing some packages fails as if they were not installed.

    Parameters
    ----------
    folder
        Where the module goes that makes them fail.
    """
    site = folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(_SITE)
    paths = {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT / "src")]), "ABSENT": ",".join(absent)}
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd or folder,
        env=os.environ | paths | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=300,
    )
