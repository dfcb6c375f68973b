"""The kinds of map by the name that a recipe gives them."""

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from intervox.errors import IntervoxError
from intervox.model.closed_form import LinearMap
from intervox.recipe.training import Map, SubspaceSettings


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


class Linear(nn.Linear, Transform):
    """``x @ weight.T + bias``: the mean of a clip's mapped frames is the clip's mapped mean."""

    title = "linear"
    is_linear = True

    def __init__(self, width: int, settings: SubspaceSettings) -> None:
        super().__init__(width, settings.dim)

    def linear_part(self) -> Tensor:
        return self.weight

    def initialise(self, linear: LinearMap) -> None:
        fill_linear(self, linear)


def fill_linear(layer: nn.Linear, linear: LinearMap) -> None:
    """Copy a closed form into the first rows and columns of a layer; the rest becomes zero."""
    rows, columns = linear.weight.shape
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[:rows, :columns].copy_(torch.from_numpy(linear.weight))
        layer.bias[:rows].copy_(torch.from_numpy(linear.bias))


class Mlp(nn.Sequential, Transform):
    """``width`` GELU units (Hendrycks & Gimpel 2016) between two matrices.

    It fits synthetic voices better than a linear map, and human ones worse; and no linear measure
    of separation exists for it.
    """

    title = "MLP"

    def __init__(self, width: int, settings: SubspaceSettings) -> None:
        super().__init__(nn.Linear(width, settings.width), nn.GELU(), nn.Linear(settings.width, settings.dim))


_LEAST_VARIANCE = 1e-4
"""Below it the deviation has no gradient: that of a square root grows without bound at zero."""


class Attentive(Transform):
    """Weighted mean and deviation over frames, then a matrix (Okabe, Koshinaka & Shinoda 2018).

    A frame's weight is the softmax, over the clip's real frames, of ``v · tanh(W x + b)`` with
    ``width`` tanh units (their equations 2 and 3; the statistics are equations 5 and 6). ``v``
    starts at zero, so all frames weigh alike at first; started from a closed form, the matrix reads
    nothing of the deviation, so that the first vectors are exactly those of the linear map.
    A single frame, as in ``per_frame``, is a clip of one: its weight is one.
    """

    title = "attentive"
    reads_frames = True

    def __init__(self, width: int, settings: SubspaceSettings) -> None:
        super().__init__()
        self.width = width
        self.hidden = nn.Linear(width, settings.width)
        self.score = nn.Parameter(torch.zeros(settings.width))
        self.output = nn.Linear(2 * width, settings.dim)

    def attention(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Return each frame's weight (cells, time): zero on padding, one in sum over real frames."""
        scores = torch.tanh(self.hidden(inputs)) @ self.score
        # The least number instead of -inf: a clip without any frame then gets zeros, not NaN.
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        return torch.softmax(scores, dim=1) * mask

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Map frames (cells, time, width) and their mask (cells, time) to (cells, dim)."""
        weights = self.attention(inputs, mask)
        mean = torch.einsum("ntd,nt->nd", inputs, weights)
        variance = torch.einsum("ntd,nt->nd", (inputs - mean[:, None]).square(), weights)
        deviation = variance.clamp_min(_LEAST_VARIANCE).sqrt()
        vectors: Tensor = self.output(torch.cat([mean, deviation], dim=1))
        return vectors

    def linear_part(self) -> Tensor:
        """Return what the weighted mean goes through."""
        return self.output.weight[:, : self.width]

    def initialise(self, linear: LinearMap) -> None:
        fill_linear(self.output, linear)
        with torch.no_grad():
            self.score.zero_()


COMPONENTS = 512
"""Principal components that the matrix turns, or twice the subspaces' dims where that is more; a
step takes the third power of their number."""

_LEAST_SHARE = 1e-6
"""Of the largest variance: what a component's variance is at least, when it is divided by it."""


class Rotation(nn.Module):
    """The matrix that orthogonal subspaces share, on inputs whitened by their principal components.

    Its rows are orthonormal all through training (a Cayley map: Lezcano-Casado & Martínez-Rubio
    2019, as in ``torch.nn.utils.parametrizations``), so the subspaces' coordinates are
    uncorrelated, but for the shrinkage, over the cells that the whitening was fitted on. That is no
    independence: ``evaluation`` measures what is left.

    Parameters
    ----------
    width
        Of the inputs.
    rows
        Dims of all subspaces together.
    """

    whitening: Tensor
    turn: nn.Linear
    _starts: dict[int, Tensor]

    def __init__(self, width: int, rows: int) -> None:
        super().__init__()
        size = min(width, max(COMPONENTS, 2 * rows))
        if rows > size:
            raise IntervoxError(
                f"orthogonal subspaces of {rows} dims together do not fit in {width} inputs: lower their "
                "dims, or give them more layers"
            )
        self.register_buffer("whitening", torch.eye(size, width))
        self.turn = nn.Linear(size, rows, bias=False)
        orthogonal(self.turn, orthogonal_map="cayley")
        self._starts = {}

    def fit_whitening(self, inputs: Tensor, shrinkage: float) -> None:
        """Give the principal components of inputs (cells, width), whose mean is zero, unit variance.

        ``shrinkage`` is the share of the covariance that is replaced by its mean variance.
        """
        covariance = (inputs.T @ inputs).double() / len(inputs)
        variances, directions = torch.linalg.eigh(covariance)
        variances = (1 - shrinkage) * variances + shrinkage * variances.mean()
        kept = torch.arange(len(variances) - 1, len(variances) - 1 - len(self.whitening), -1)
        scale = variances[kept].clamp_min(_LEAST_SHARE * float(variances.max())).rsqrt()
        self.whitening.copy_(directions[:, kept].T * scale[:, None])

    def residual(self, inputs: Tensor) -> Tensor:
        """Whiten inputs (cells, width) and take every subspace out of them: (cells, components)."""
        whitened, rows = inputs @ self.whitening.T, self.turn.weight
        return whitened - (whitened @ rows.T) @ rows

    def start(self, first: int, weight: Tensor) -> Tensor:
        """Start some rows from a map's weight (rows, width) on inputs; returns the rows' lengths.

        All rows that were started so far are set together, to the orthonormal ones nearest to them
        in squared error (Schönemann 1966), in which long rows give way least; the rest is drawn.
        """
        # Rows of the pseudo-inverse are the components' directions times their deviations.
        variances = 1 / self.whitening.square().sum(dim=1)
        wanted = weight @ (self.whitening * variances[:, None]).T
        self._starts[first] = wanted
        rows, size = self.turn.weight.shape
        place = torch.cat([torch.arange(at, at + len(given)) for at, given in self._starts.items()])
        left, _, right = torch.linalg.svd(torch.cat(list(self._starts.values())), full_matrices=False)
        nearest = left @ right
        others = torch.randn(rows - len(place), size)
        others = torch.linalg.qr((others - others @ nearest.T @ nearest).T)[0].T
        matrix = torch.empty(rows, size)
        matrix[place] = nearest
        matrix[[row for row in range(rows) if row not in set(place.tolist())]] = others
        with torch.no_grad():
            self.turn.weight = matrix
        return wanted.square().sum(dim=1).sqrt()


class Orthogonal(Transform):
    """Some rows of a ``Rotation``, each times a gain of its own.

    A gain stretches an axis and turns none, so that the closed form's weighing of directions
    survives where the rows themselves have unit length.
    """

    title = "orthogonal"
    is_linear = True
    _shared: tuple[Rotation, ...]

    def __init__(self, width: int, settings: SubspaceSettings) -> None:
        super().__init__()
        self.width = width
        self.gain = nn.Parameter(torch.ones(settings.dim))
        self.first = 0
        # In a tuple, or it would be a submodule: the model has it once, and so does its file.
        self._shared = ()

    @classmethod
    def join(cls, maps: Sequence[Self]) -> Rotation:
        """Make the matrix that maps of one width share, and deal out its rows."""
        rotation = Rotation(maps[0].width, sum(len(one.gain) for one in maps))
        first = 0
        for one in maps:
            one._shared = (rotation,)
            one.first = first
            first += len(one.gain)
        return rotation

    def linear_part(self) -> Tensor:
        (rotation,) = self._shared
        rows: Tensor = rotation.turn.weight[self.first : self.first + len(self.gain)]
        return (self.gain[:, None] * rows) @ rotation.whitening

    def forward(self, inputs: Tensor) -> Tensor:
        """Map clips (cells, width) to (cells, dim)."""
        return inputs @ self.linear_part().T

    def initialise(self, linear: LinearMap) -> None:
        (rotation,) = self._shared
        weight = torch.from_numpy(linear.weight).to(self.gain.device)
        with torch.no_grad():
            self.gain.zero_()
            self.gain[: len(weight)] = rotation.start(self.first, weight)


TRANSFORMS: dict[Map, type[Transform]] = {
    "linear": Linear,
    "mlp": Mlp,
    "attentive": Attentive,
    "orthogonal": Orthogonal,
}
