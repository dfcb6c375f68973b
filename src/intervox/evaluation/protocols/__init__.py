"""Evaluation sets: folders as they are distributed, turned into one manifest.

A corpus is one file here and one line of ``READERS``; any other one comes with a manifest of its own.
"""

from intervox.evaluation.protocols.base import Corpus, Protocol
from intervox.evaluation.protocols.find import READERS, data_folder, find_protocols
from intervox.metrics.trials import TrialList

__all__ = ["READERS", "Corpus", "Protocol", "TrialList", "data_folder", "find_protocols"]
