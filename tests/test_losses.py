import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from intervox.subspaces.losses import coupling, multi_part_loss, multi_positive_loss


def unit(*rows: list[float]) -> Tensor:
    return normalize(torch.tensor(rows, dtype=torch.float64), dim=1)


# Three cells: two of one class at right angles, one of another class opposite to the first.
VECTORS = unit([1.0, 0.0], [0.0, 1.0], [-1.0, 0.0])
LABELS = torch.tensor([0, 0, 1])


def test_supcon_equals_the_hand_computed_value() -> None:
    # cosines: 0-1: 0, 0-2: -1, 1-2: 0; temperature 1/2 doubles them. Anchor 2 has no positive.
    anchor_0 = -(0 - math.log(math.exp(0) + math.exp(-2)))
    anchor_1 = -(0 - math.log(math.exp(0) + math.exp(0)))
    loss, dropped = multi_positive_loss(VECTORS, LABELS, 0.5, "all")
    assert float(loss) == pytest.approx((anchor_0 + anchor_1) / 2, abs=1e-12)
    assert dropped == 1


def test_sincere_keeps_positives_out_of_each_others_denominator() -> None:
    vectors = unit([1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-1.0, 0.0])
    labels = torch.tensor([0, 0, 0, 1])
    cosines = (vectors @ vectors.T).tolist()
    expected = 0.0
    for anchor in range(3):
        negative = math.exp(cosines[anchor][3])
        for positive in {0, 1, 2} - {anchor}:
            own = math.exp(cosines[anchor][positive])
            expected -= math.log(own / (own + negative)) / 2 / 3
    loss, _ = multi_positive_loss(vectors, labels, 1.0, "negatives")
    assert float(loss) == pytest.approx(expected, abs=1e-12)


def test_one_space_agrees_with_pytorch_metric_learning() -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses", reason="pip install intervox[dev]")
    generator = torch.Generator().manual_seed(0)
    vectors = normalize(torch.randn(64, 16, generator=generator), dim=1)
    labels = torch.arange(64) % 8
    theirs = losses.SupConLoss(temperature=0.1)(vectors, labels)
    ours, dropped = multi_positive_loss(vectors, labels, 0.1, "all")
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert dropped == 0


@pytest.mark.parametrize("denominator", ["all", "negatives"])
def test_unlabelled_cells_take_no_part(denominator: str) -> None:
    generator = torch.Generator().manual_seed(1)
    vectors = normalize(torch.randn(12, 5, generator=generator, dtype=torch.float64), dim=1)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, -1, -1, -1, -1, -1, -1])
    whole = multi_positive_loss(vectors, labels, 0.2, denominator)  # type: ignore[arg-type]
    known = multi_positive_loss(vectors[:6], labels[:6], 0.2, denominator)  # type: ignore[arg-type]
    assert whole == known


@pytest.mark.parametrize("denominator", ["all", "negatives"])
@pytest.mark.parametrize("labels", [[0, 1, 2], [-1, -1, -1], [0, -1, -1]])
def test_no_positives_is_zero_with_a_zero_gradient(labels: list[int], denominator: str) -> None:
    vectors = VECTORS.clone().requires_grad_()
    loss, dropped = multi_positive_loss(vectors, torch.tensor(labels), 0.1, denominator)  # type: ignore[arg-type]
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss) == 0.0
    assert dropped == sum(label >= 0 for label in labels)
    assert vectors.grad is not None
    assert torch.equal(vectors.grad, torch.zeros_like(vectors))


@pytest.mark.parametrize("denominator", ["all", "negatives"])
def test_a_single_class_has_finite_loss_and_gradient(denominator: str) -> None:
    vectors = VECTORS.clone().requires_grad_()
    loss, _ = multi_positive_loss(vectors, torch.zeros(3, dtype=torch.long), 0.1, denominator)  # type: ignore[arg-type]
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert vectors.grad is not None
    assert torch.isfinite(vectors.grad).all()


@pytest.mark.parametrize("denominator", ["all", "negatives"])
def test_gradients_in_double_precision(denominator: str) -> None:
    generator = torch.Generator().manual_seed(2)
    a = torch.randn(10, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    b = torch.randn(10, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = {"a": torch.tensor([0, 0, 1, 1, 2, 2, 3, -1, 0, 1]), "b": torch.arange(10) % 3}

    def total(x: Tensor, y: Tensor) -> Tensor:
        spaces = {"a": normalize(x, dim=1), "b": normalize(y, dim=1)}
        return multi_part_loss(
            spaces,
            labels,
            {"a": 0.2, "b": 0.5},
            {"a": 1.0, "b": 0.7},
            0.3,
            denominator,  # type: ignore[arg-type]
        ).total

    assert torch.autograd.gradcheck(total, (a, b), atol=1e-6)


def test_the_total_is_the_weighted_sum_of_its_parts() -> None:
    spaces = {"speaker": VECTORS, "content": VECTORS.flip(0), "condition": VECTORS}
    labels = {"speaker": LABELS, "content": torch.tensor([0, 1, 1]), "condition": torch.tensor([0, 0, 0])}
    result = multi_part_loss(
        spaces, labels, dict.fromkeys(spaces, 0.5), {"speaker": 1.0, "content": 2.0, "condition": 0.5}, 3.0
    )
    parts = result.parts
    expected = (
        parts["speaker"] + 2 * parts["content"] + 0.5 * parts["condition"] + 3 * parts["cross_covariance"]
    )
    torch.testing.assert_close(result.total.double(), expected.double())
    assert result.dropped == {"speaker": 1, "content": 1, "condition": 0}


def test_coupling_is_one_for_a_rotation_and_zero_for_crossed_factors() -> None:
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64)).Q
    assert float(coupling(points, 3 * points @ rotation)) == pytest.approx(1.0)
    speakers = torch.eye(3, dtype=torch.float64).repeat_interleave(4, 0)
    contents = torch.eye(4, dtype=torch.float64).repeat(3, 1)
    assert float(coupling(speakers, contents)) == pytest.approx(0.0, abs=1e-12)


def test_logits_stay_in_single_precision_under_autocast() -> None:
    generator = torch.Generator().manual_seed(4)
    vectors = normalize(torch.randn(32, 8, generator=generator), dim=1)
    labels = torch.arange(32) % 4
    plain, _ = multi_positive_loss(vectors, labels, 0.01)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, _ = multi_positive_loss(vectors, labels, 0.01)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, plain)
