"""The multi-part loss: one contrastive loss a space, and parts that keep the spaces apart."""

from intervox.training.losses.coupling import coupling
from intervox.training.losses.multi_part import PARTS, MultiPart, MultiPartLoss, columns
from intervox.training.losses.multi_positive import multi_positive_loss

__all__ = ["PARTS", "MultiPart", "MultiPartLoss", "columns", "coupling", "multi_positive_loss"]
