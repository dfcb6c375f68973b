"""The multi-part loss: one contrastive loss a space, and parts that keep the spaces apart and full."""

from intervox.clips.labels import UNLABELLED
from intervox.training.losses.multi_part import MultiPart, MultiPartLoss, columns
from intervox.training.losses.multi_positive import multi_positive_loss
from intervox.training.losses.orthogonality import coupling

__all__ = ["UNLABELLED", "MultiPart", "MultiPartLoss", "columns", "coupling", "multi_positive_loss"]
