"""The contrastive loss of one space."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from intervox.clips.labels import UNLABELLED
from intervox.training.losses import multi_positive_loss

# Three cells: two of one class at right angles, one of another class opposite to the first.
VECTORS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 0, 1])
DENOMINATORS = pytest.mark.parametrize("denominator", ["all", "negatives"])


def random_cells(cells: int, dim: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(cells, dim, generator=generator, dtype=torch.float64), dim=1)


def restated(
    vectors: Tensor,
    labels: list[int],
    temperature: float,
    denominator: str,
    others: tuple[list[int], ...] = (),
    hard_negatives: float = 0.0,
    within: list[int] | None = None,
) -> tuple[float, int]:
    """The definition, one exponential at a time."""
    cosines = (vectors @ vectors.T).tolist()
    losses, dropped = [], 0
    for i in range(len(labels)):
        if labels[i] == UNLABELLED:
            continue
        wanted, unwanted = [], 0.0
        for k in range(len(labels)):
            if k == i or labels[k] == UNLABELLED:
                continue
            if labels[k] == labels[i]:
                wanted.append(math.exp(cosines[i][k] / temperature))
            elif within is None or within[k] == within[i] != UNLABELLED:
                hard = any(other[k] == other[i] != UNLABELLED for other in others)
                unwanted += math.exp(cosines[i][k] / temperature + (hard_negatives if hard else 0))
        if not wanted:
            dropped += 1
            continue
        totals = [(sum(wanted) if denominator == "all" else own) + unwanted for own in wanted]
        losses.append(
            sum(math.log(total / own) for total, own in zip(totals, wanted, strict=True)) / len(wanted)
        )
    return sum(losses) / len(losses), dropped


def test_supcon_equals_the_hand_computed_value() -> None:
    # cosines: 0-1: 0, 0-2: -1, 1-2: 0; temperature 1/2 doubles them. Anchor 2 has no positive.
    anchor_0 = -(0 - math.log(math.exp(0) + math.exp(-2)))
    anchor_1 = -(0 - math.log(math.exp(0) + math.exp(0)))
    loss, dropped = multi_positive_loss(VECTORS, LABELS, 0.5, "all")
    assert float(loss) == pytest.approx((anchor_0 + anchor_1) / 2, abs=1e-12)
    assert dropped == 1


def test_sincere_keeps_positives_out_of_each_others_denominator() -> None:
    vectors = torch.cat([VECTORS[:2], torch.tensor([[0.6, 0.8]], dtype=torch.float64), VECTORS[2:]])
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


def test_a_hard_negative_weighs_as_several() -> None:
    # The negative shares the other factor with anchor 1 alone, and counts there three times.
    other = torch.tensor([5, 6, 6])
    loss, _ = multi_positive_loss(VECTORS, LABELS, 0.5, others=[other], hard_negatives=math.log(3))
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + 3)) / 2
    assert float(loss) == pytest.approx(expected, abs=1e-12)


def test_negatives_stay_within_a_column() -> None:
    # Anchor 0 is of another engine than the only negative, anchor 1 of the same.
    loss, _ = multi_positive_loss(VECTORS, LABELS, 0.5, within=torch.tensor([0, 1, 1]))
    assert float(loss) == pytest.approx((0 + math.log(2)) / 2, abs=1e-12)
    unknown = torch.full((3,), UNLABELLED)
    loss, dropped = multi_positive_loss(VECTORS, LABELS, 0.5, within=unknown)
    assert (float(loss), dropped) == (0.0, 1)


@DENOMINATORS
@pytest.mark.parametrize("chunk", [5, 100])
def test_all_options_together_equal_the_definition(denominator: str, chunk: int) -> None:
    count = 24
    vectors = random_cells(count, 5)
    generator = torch.Generator().manual_seed(9)
    labels, first, second, within = torch.randint(-1, 4, (4, count), generator=generator)
    labels[0] = 9  # an anchor without positives
    expected = restated(
        vectors, labels.tolist(), 0.2, denominator, (first.tolist(), second.tolist()), 0.7, within.tolist()
    )
    loss, dropped = multi_positive_loss(
        vectors, labels, 0.2, denominator,  # type: ignore[arg-type]
        others=[first, second], hard_negatives=0.7, within=within, chunk=chunk,
    )  # fmt: skip
    assert dropped == expected[1] >= 1
    assert float(loss) == pytest.approx(expected[0], abs=1e-12)


def test_one_space_agrees_with_pytorch_metric_learning() -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses", reason="pip install intervox[dev]")
    labels = torch.arange(64) % 8
    ours_in, theirs_in = (random_cells(64, 16).float().requires_grad_() for _ in range(2))
    theirs = losses.SupConLoss(temperature=0.1)(theirs_in, labels)
    ours, dropped = multi_positive_loss(ours_in, labels, 0.1, "all")
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert dropped == 0
    ours.backward()  # type: ignore[no-untyped-call]
    theirs.backward()
    # Theirs normalises, so its gradient is ours without the part along the vector.
    assert ours_in.grad is not None
    along = (ours_in.grad * ours_in).sum(dim=1, keepdim=True) * ours_in
    torch.testing.assert_close(ours_in.grad - along, theirs_in.grad, rtol=1e-4, atol=1e-6)


@DENOMINATORS
@pytest.mark.parametrize("chunk", [4, 100])
def test_gradients_are_those_of_finite_differences(denominator: str, chunk: int) -> None:
    labels, other = torch.tensor([0, 0, 1, 1, 2, 2, 3, -1, 0, 1]), torch.arange(10) % 3
    within = torch.tensor([0, 0, 0, 1, 1, 0, 1, 0, 0, -1])

    def loss(rows: Tensor) -> Tensor:
        return multi_positive_loss(
            normalize(rows, dim=1), labels, 0.3, denominator,  # type: ignore[arg-type]
            others=[other], hard_negatives=0.5, within=within, chunk=chunk,
        )[0]  # fmt: skip

    assert torch.autograd.gradcheck(loss, (2 * random_cells(10, 4)).requires_grad_())


@DENOMINATORS
def test_chunks_change_neither_the_loss_nor_its_gradients(denominator: str) -> None:
    labels, other = torch.arange(50) % 7, torch.arange(50) // 7

    def outcome(chunk: int) -> list[Tensor]:
        vectors = random_cells(50, 6).requires_grad_()
        options: dict[str, Any] = {"others": [other], "hard_negatives": 1.0, "chunk": chunk}
        loss, _ = multi_positive_loss(vectors, labels, 0.1, denominator, **options)  # type: ignore[arg-type]
        (3 * loss).backward()  # type: ignore[no-untyped-call]
        assert vectors.grad is not None
        return [loss.detach(), vectors.grad]

    whole = outcome(50)
    for chunk in (1, 16, 1000):
        torch.testing.assert_close(outcome(chunk), whole, rtol=1e-12, atol=1e-14)


@DENOMINATORS
def test_unlabelled_cells_take_no_part(denominator: str) -> None:
    vectors = random_cells(12, 5, seed=1)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, -1, -1, -1, -1, -1, -1])
    whole = multi_positive_loss(vectors, labels, 0.2, denominator)  # type: ignore[arg-type]
    known = multi_positive_loss(vectors[:6], labels[:6], 0.2, denominator)  # type: ignore[arg-type]
    assert whole == known


@DENOMINATORS
@pytest.mark.parametrize("labels", [[0, 1, 2], [-1, -1, -1], [0, -1, -1]])
def test_no_positives_is_zero_with_a_zero_gradient(labels: list[int], denominator: str) -> None:
    vectors = VECTORS.clone().requires_grad_()
    loss, dropped = multi_positive_loss(vectors, torch.tensor(labels), 0.1, denominator)  # type: ignore[arg-type]
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0
    assert dropped == sum(label >= 0 for label in labels)
    assert vectors.grad is not None
    assert torch.equal(vectors.grad, torch.zeros_like(vectors))


@DENOMINATORS
@pytest.mark.parametrize("temperature", [1.0, 0.1, 1e-3])
def test_anchors_without_negatives_have_a_finite_loss_and_gradient(
    denominator: str, temperature: float
) -> None:
    vectors = VECTORS.float().requires_grad_()
    labels = torch.zeros(3, dtype=torch.long)
    loss, _ = multi_positive_loss(vectors, labels, temperature, denominator)  # type: ignore[arg-type]
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert vectors.grad is not None
    assert torch.isfinite(vectors.grad).all()
    assert (loss.item() == 0.0) == (denominator == "negatives")


def test_chunks_keep_no_pairs_for_the_gradient() -> None:
    """What autograd saves between the passes is of the size of the cells, not of their pairs."""
    vectors = random_cells(200, 4).requires_grad_()

    def saved(chunk: int) -> int:
        largest = 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal largest
            largest = max(largest, tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            multi_positive_loss(vectors, torch.arange(200) % 20, 0.1, chunk=chunk)
        return largest

    assert saved(1000) == 200 * 200
    assert saved(20) == 200 * 4
