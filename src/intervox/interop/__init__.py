"""Embeddings to other toolkits' files, and clips from their lists."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intervox.interop.lists import read_kaldi_folder, read_scp
    from intervox.interop.vectors import VECTOR_FORMATS, VectorWriter, open_writer, read_vectors

__all__ = ["VECTOR_FORMATS", "VectorWriter", "open_writer", "read_kaldi_folder", "read_scp", "read_vectors"]

_OF_LISTS = ("read_kaldi_folder", "read_scp")

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import on first use: a command on clips needs none of the formats for vectors."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = "lists" if name in _OF_LISTS else "vectors"
        return getattr(import_module(f"{__name__}.{home}"), name)
