import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import xlogy
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from intervox.metrics.information import pointwise_bits, shared_bits
from intervox.metrics.probes import Estimate, Probed, draw_task, probe
from intervox.seeds import rng
from tests.support.intervals import ends


def probed(vectors: NDArray[np.floating], labels: NDArray[np.integer]) -> Probed:
    groups = np.random.default_rng(9).integers(40, size=len(labels)).astype(str)
    task = draw_task(labels.astype(str), groups, (0, 1, 2), rng)
    assert task is not None
    with threadpool_limits(1):  # as in an evaluation
        return probe(vectors.astype(np.float32), task, "linear", 100)


def binary_entropy(p: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-(xlogy(p, p) + xlogy(1 - p, 1 - p)) / np.log(2))


@pytest.mark.parametrize("distance", [0.5, 1.5, 3.0])
def test_gaussian_classes_have_their_closed_form_information(distance: float) -> None:
    """Logistic regression holds the true posterior: the V-information is the mutual information."""

    def lost(x: float) -> float:
        density = (norm.pdf(x) + norm.pdf(x - distance)) / 2
        return float(density * binary_entropy(norm.pdf(x) / (2 * density)))

    expected = 1 - quad(lost, -8, distance + 8)[0]
    random = np.random.default_rng(1)
    labels = np.arange(2000) % 2
    vectors = random.normal(size=(2000, 4))
    vectors[:, 0] += distance * labels
    found = probed(vectors, labels)
    assert found.bits.value == pytest.approx(expected, abs=0.03)
    assert found.entropy_bits == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("flipped", [0.02, 0.2, 0.5])
def test_a_binary_symmetric_channel_has_its_capacity(flipped: float) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(2000) % 2
    sent = labels ^ (random.permutation(2000) < 2000 * flipped)
    found = probed(np.stack([sent, 1 - sent], axis=1), labels)
    assert found.bits.value == pytest.approx(1 - float(binary_entropy(flipped)), abs=0.03)


def test_noise_in_many_dims_is_worth_nothing_and_costs_nothing() -> None:
    """A probe that is sure of what it learnt by heart must not count as negative information."""
    random = np.random.default_rng(0)
    found = probed(random.normal(size=(600, 250)), random.integers(20, size=600))
    assert abs(found.bits.value) < 0.03
    assert isinstance(found.bits, Estimate)
    assert ends(found.bits.interval)[0] < 0.01


def test_pointwise_bits_by_hand() -> None:
    """Two folds of two clips, frequencies of one half, evidence that is right everywhere."""
    sure = np.log(np.array([[0.8, 0.2], [0.2, 0.8]]))
    known, entropy = pointwise_bits([sure, sure], [np.array([0, 1])] * 2, [np.array([0, 1])] * 2, [0, 0])
    assert np.concatenate(entropy) == pytest.approx(1)
    # The strongest multiple of the evidence is the best: 1 + log2(4^8 / (4^8 + 1)).
    assert np.concatenate(known) == pytest.approx(1 + np.log2(4**8 / (4**8 + 1)))
    wrong, _ = pointwise_bits([sure, sure], [np.array([1, 0])] * 2, [np.array([0, 1])] * 2, [0, 0])
    assert np.concatenate(wrong) == pytest.approx(0)


@pytest.mark.parametrize("correlation", [0.0, 0.4, 0.7, 0.95])
def test_jointly_gaussian_spaces_share_their_closed_form_information(correlation: float) -> None:
    random = np.random.default_rng(0)
    size = 4000
    first, second = random.normal(size=(size, 12)), random.normal(size=(size, 5))
    second[:, 2] = correlation * first[:, 7] + np.sqrt(1 - correlation**2) * second[:, 2]
    turns = [np.linalg.qr(random.normal(size=(d, d)))[0] * random.uniform(0.5, 2, d) for d in (12, 5)]
    groups = random.integers(50, size=size)
    found = shared_bits(first @ turns[0], second @ turns[1], groups)
    assert found == pytest.approx(-0.5 * np.log2(1 - correlation**2), abs=0.05)


def test_clusters_share_no_more_than_their_entropy() -> None:
    random = np.random.default_rng(0)
    classes = random.integers(8, size=2000)
    first, second = (
        random.normal(size=(8, 6))[classes] + 0.01 * random.normal(size=(2000, 6)) for _ in range(2)
    )
    assert 0.5 < shared_bits(first, second, random.integers(50, size=2000)) < 3
