"""Embeddings to other toolkits' files, and clips from their lists."""

from intervox.interop.lists import read_kaldi_folder, read_scp
from intervox.interop.vectors import VECTOR_FORMATS, VectorWriter, open_writer, read_vectors

__all__ = ["VECTOR_FORMATS", "VectorWriter", "open_writer", "read_kaldi_folder", "read_scp", "read_vectors"]
