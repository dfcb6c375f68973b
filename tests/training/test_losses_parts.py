"""The parts of the loss beside the contrastive ones, each by itself."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize, pdist

from intervox.clips.labels import UNLABELLED
from intervox.training.losses import coupling
from intervox.training.losses.invariance import invariance
from intervox.training.losses.orthogonality import orthogonality
from intervox.training.losses.uniformity import uniformity
from intervox.training.losses.variance import variance


def random_points(rows: int, dim: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, dim, generator=generator, dtype=torch.float64)


def rotation(dim: int, seed: int = 1) -> Tensor:
    turned: Tensor = torch.linalg.qr(random_points(dim, dim, seed))[0]
    return turned


def test_coupling_is_one_for_a_rotation_and_zero_for_crossed_factors() -> None:
    points = random_points(50, 4, seed=3)
    assert float(coupling(points, 3 * points @ rotation(4) + 7)) == pytest.approx(1.0)
    speakers = torch.eye(3, dtype=torch.float64).repeat_interleave(4, 0)
    contents = torch.eye(4, dtype=torch.float64).repeat(3, 1)
    assert float(coupling(speakers, contents)) == pytest.approx(0.0, abs=1e-12)


def test_coupling_of_a_collapsed_space_is_zero_with_a_zero_gradient() -> None:
    points, point = random_points(5, 3), torch.ones(5, 2, dtype=torch.float64, requires_grad=True)
    loss = coupling(points, point)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0
    assert point.grad is not None
    assert torch.equal(point.grad, torch.zeros_like(point))


def test_orthogonality_is_of_the_row_spaces_alone() -> None:
    axes = torch.eye(6, dtype=torch.float64)
    assert float(orthogonality(5 * axes[:2], axes[2:5])) == 0.0
    weights = random_points(3, 6)
    assert float(orthogonality(weights, 0.1 * rotation(3) @ weights)) == pytest.approx(1.0)
    # One of two directions shared: ||W W'ᵀ||² = 1, ||W Wᵀ|| = ||W' W'ᵀ|| = sqrt(2).
    assert float(orthogonality(axes[:2], axes[1:3])) == pytest.approx(0.5)
    leaning = torch.tensor([[1.0, 0, 0]]), torch.tensor([[1.0, 1, 0]])
    assert float(orthogonality(*leaning)) == pytest.approx(math.cos(math.pi / 4) ** 2)


def test_orthogonality_is_the_coupling_of_outputs_on_white_input() -> None:
    white = math.sqrt(8) * torch.linalg.qr(random_points(8, 8) - random_points(8, 8).mean(0))[0]
    white = torch.cat([white, -white])
    first, second = random_points(2, 8, seed=5), random_points(3, 8, seed=6)
    outputs = coupling(white @ first.T, white @ second.T)
    assert float(orthogonality(first, second)) == pytest.approx(float(outputs))


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_uniformity_is_wang_and_isolas(chunk: int) -> None:
    ours, theirs = (normalize(random_points(9, 3), dim=1).requires_grad_() for _ in range(2))
    expected = pdist(theirs).square().mul(-2).exp().mean().log()  # their own code
    loss = uniformity(ours, chunk)
    torch.testing.assert_close(loss, expected)
    (a,), (b,) = torch.autograd.grad(loss, ours), torch.autograd.grad(expected, theirs)
    # Theirs also has the change of length, which unit vectors do not make.
    torch.testing.assert_close(a - (a * ours).sum(1, True) * ours, b - (b * theirs).sum(1, True) * theirs)


def test_uniformity_of_a_point_and_of_a_pair() -> None:
    assert float(uniformity(torch.tensor([[1.0, 0.0]]))) == 0.0
    assert float(uniformity(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))) == 0.0
    assert float(uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))) == pytest.approx(-8.0)


def test_variance_asks_each_dim_for_its_part_of_the_spread() -> None:
    # Four points on the axes: each dim has an unbiased variance of 2/3, wanted is 1/2.
    cross = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert float(variance(cross)) == 0.0
    # Two of them: the first dim has enough, the second has none but the 1e-4 of the paper.
    assert float(variance(cross[:2])) == pytest.approx((0 + 1 - 0.01) / 2)
    assert float(variance(cross[:1])) == pytest.approx(1 - 0.01)
    collapsed = cross[[0, 0, 0]].requires_grad_()
    variance(collapsed).backward()  # type: ignore[no-untyped-call]
    assert collapsed.grad is not None
    assert torch.isfinite(collapsed.grad).all()


def test_invariance_is_the_distance_over_do_condition() -> None:
    vectors = normalize(random_points(80, 5), dim=1)
    generator = torch.Generator().manual_seed(4)
    speaker, content, condition = torch.randint(-1, 3, (3, 80), generator=generator)
    distances = [
        float((vectors[i] - vectors[j]).square().sum())
        for i in range(80)
        for j in range(i)
        if speaker[i] == speaker[j] != UNLABELLED
        and content[i] == content[j] != UNLABELLED
        and UNLABELLED != condition[i] != condition[j] != UNLABELLED
    ]
    assert len(distances) > 10
    measured = invariance(vectors, condition, [speaker, content])
    assert float(measured) == pytest.approx(sum(distances) / len(distances))


def test_invariance_without_a_pair_is_zero_with_a_zero_gradient() -> None:
    vectors = normalize(random_points(4, 3), dim=1).requires_grad_()
    loss = invariance(vectors, torch.zeros(4, dtype=torch.long), [torch.tensor([0, 0, 1, 1])])
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0
    assert vectors.grad is not None
    assert torch.equal(vectors.grad, torch.zeros_like(vectors))
