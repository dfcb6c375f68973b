"""The multi-part loss: one contrastive loss a space, and parts that keep the spaces apart and full."""

from intervox.subspaces.losses.cross_covariance import coupling
from intervox.subspaces.losses.module import MultiPart, MultiPartLoss, columns
from intervox.subspaces.losses.multi_positive import multi_positive_loss
from intervox.subspaces.losses.unlabelled import UNLABELLED

__all__ = ["UNLABELLED", "MultiPart", "MultiPartLoss", "columns", "coupling", "multi_positive_loss"]
