"""Miniature trees of files."""

from collections.abc import Mapping
from pathlib import Path


def grow(folder: Path, files: Mapping[str, str]) -> None:
    """Write files of text, with the folders that they need."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
