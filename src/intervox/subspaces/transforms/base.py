"""What every kind of map offers."""

from typing import ClassVar

from torch import Tensor, nn

from intervox.subspaces.lda import LinearMap


class Transform(nn.Module):
    """A map from a subspace's inputs to vectors, before they are scaled to unit length.

    A kind is constructed with the width of its inputs and the subspace's settings. Its
    ``forward`` takes clips (cells, width), or frames (cells, time, width) and their mask (cells, time)
    where it ``reads_frames``, and gives (cells, dim).

    Attributes
    ----------
    title
        What messages call it.
    reads_frames
        Whether it looks at frames; all others read a clip's mean.
    is_linear
        Whether it is its linear part and nothing else.
    """

    title: ClassVar[str]
    reads_frames: ClassVar[bool] = False
    is_linear: ClassVar[bool] = False

    def linear_part(self) -> Tensor | None:
        """Return the matrix (dim, width) that the mean of the inputs goes through, or None."""
        return None

    def initialise(self, linear: LinearMap) -> None:
        """Start from a closed form; directions that it lacks start at zero.

        Only what has a linear part can.
        """
        raise NotImplementedError
