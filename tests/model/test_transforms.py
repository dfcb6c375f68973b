"""Each kind of map by hand, and erasure against LEACE of its authors."""

import numpy as np
import pytest
import torch
from concept_erasure import LeaceFitter
from numpy.typing import NDArray
from torch import Tensor

from intervox.model.closed_form import LinearMap, fit_erasure, fit_lda
from intervox.model.maps import Attentive, Linear, Mlp
from intervox.recipe.training import SubspaceSettings

LAYERS, DIM = 2, 5


def settings(**given: object) -> SubspaceSettings:
    return SubspaceSettings.model_validate({"factor": "speaker", "dim": 3, "width": 4} | given)


def classes(
    cells: int, count: int, width: int, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw clusters in correlated noise, with a mean of zero."""
    random = np.random.default_rng(seed)
    labels = np.arange(cells) % count
    inputs = random.normal(size=(count, width))[labels] + random.normal(size=(cells, width)) @ random.normal(
        size=(width, width)
    )
    return (inputs - inputs.mean(axis=0)).astype(np.float32), labels


def closed(inputs: NDArray[np.float32], labels: NDArray[np.int64], dim: int) -> LinearMap:
    return fit_lda(inputs, labels, dim, 0.1)


def padded(*lengths: int) -> tuple[Tensor, Tensor]:
    """Frames (clips, time, 6) with rubbish behind each clip's end, and their mask."""
    torch.manual_seed(1)
    frames = torch.randn(len(lengths), max(lengths), 6)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.where(mask[..., None], frames, 1e4), mask


def has_finite_gradient(parameter: Tensor) -> bool:
    return parameter.grad is not None and bool(parameter.grad.isfinite().all())


def an_attentive() -> Attentive:
    torch.manual_seed(0)
    transform = Attentive(6, settings())
    torch.nn.init.normal_(transform.score)
    return transform


def test_attentive_statistics_by_hand() -> None:
    transform = an_attentive()
    frames, mask = padded(3, 7)
    clip = frames[0, :3].double().numpy()
    weight, bias = (p.detach().double().numpy() for p in transform.hidden.parameters())
    scores = np.tanh(clip @ weight.T + bias) @ transform.score.detach().double().numpy()
    attention = np.exp(scores) / np.exp(scores).sum()
    mean = sum(a * x for a, x in zip(attention, clip, strict=True))
    variance = sum(a * x**2 for a, x in zip(attention, clip, strict=True)) - mean**2
    output, offset = (p.detach().double().numpy() for p in transform.output.parameters())
    expected = output @ np.concatenate([mean, np.sqrt(variance)]) + offset
    np.testing.assert_allclose(transform(frames, mask)[0].detach(), expected, rtol=1e-4, atol=1e-5)


def test_padding_gets_no_attention_and_a_clip_without_frames_no_nan() -> None:
    transform = an_attentive()
    frames, mask = padded(3, 7, 0)
    attention = transform.attention(frames, mask)
    assert (attention[~mask] == 0).all()
    assert attention.sum(dim=1).tolist() == pytest.approx([1, 1, 0])
    alone = transform(frames[:1, :3], mask[:1, :3])
    torch.testing.assert_close(transform(frames, mask)[:1], alone)
    transform(frames, mask).sum().backward()
    assert all(has_finite_gradient(parameter) for parameter in transform.parameters())


def test_attention_starts_as_the_closed_form_on_plain_means() -> None:
    inputs, labels = classes(60, 6, 6)
    linear = closed(inputs, labels, 3)
    transform, plain = an_attentive(), Linear(6, settings())
    transform.initialise(linear)
    plain.initialise(linear)
    frames, mask = padded(3, 7, 1)
    means = torch.stack([clip[real].mean(dim=0) for clip, real in zip(frames, mask, strict=True)])
    torch.testing.assert_close(transform(frames, mask), plain(means), rtol=1e-5, atol=1e-5)
    # Everything can still learn: the scores at once, what they are made of from the second step on.
    transform(frames, mask).square().sum().backward()
    assert transform.score.grad is not None
    assert transform.output.weight.grad is not None
    assert transform.score.grad.abs().min() > 0
    assert transform.output.weight.grad[:, 6:].abs().min() > 0


def test_a_still_clip_has_a_finite_gradient() -> None:
    transform = an_attentive()
    transform(torch.ones(1, 5, 6, requires_grad=True), torch.ones(1, 5, dtype=torch.bool)).sum().backward()
    assert all(has_finite_gradient(parameter) for parameter in transform.parameters())


def test_an_mlp_is_as_wide_as_asked() -> None:
    transform = Mlp(6, settings(width=9))
    assert [tuple(p.shape) for p in transform.parameters()] == [(9, 6), (9,), (3, 9), (3,)]
    assert transform.linear_part() is None


def test_erasing_all_directions_is_leace() -> None:
    inputs, labels = classes(300, 4, 8)
    found = fit_erasure(inputs, [labels], 16, 0.0)
    assert found.read.shape == (8, 3)
    fitter = LeaceFitter(8, 4, dtype=torch.float64, shrinkage=False)
    fitter.update(torch.from_numpy(inputs).double(), torch.eye(4, dtype=torch.float64)[labels])
    np.testing.assert_allclose(np.eye(8) - (found.read @ found.write).T, fitter.eraser.P.numpy(), atol=1e-3)
    erased = inputs - (inputs @ found.read) @ found.write
    means = np.stack([erased[labels == label].mean(axis=0) for label in range(4)])
    assert np.abs(means).max() < 1e-4


def test_the_leading_directions_of_two_factors_are_erased_together() -> None:
    inputs, labels = classes(600, 12, 8)
    others = np.where(np.arange(600) < 100, -1, np.arange(600) // 200)
    found = fit_erasure(inputs, [labels, others], 2, 0.1)
    np.testing.assert_allclose(found.write @ found.read, np.eye(4), atol=1e-4)
    erased = inputs - (inputs @ found.read) @ found.write
    for factor in (labels, others):
        ways = fit_lda(inputs[factor >= 0], factor[factor >= 0], 2, 0.1).weight
        means = np.stack([inputs[factor == label].mean(axis=0) for label in np.unique(factor)])
        after = np.stack([erased[factor == label].mean(axis=0) for label in np.unique(factor)])
        assert np.abs(means @ ways.T).max() > 0.1
        assert np.abs(after @ ways.T).max() < 1e-3
    assert np.linalg.matrix_rank(erased, tol=1e-2) == 4


def test_differences_within_blocks_spare_what_a_factor_shares_with_the_block() -> None:
    """Two texts a block, said by that block's two similar speakers: text means carry the speakers."""
    random = np.random.default_rng(0)
    block, speaker, text, _ = (axis.ravel() for axis in np.indices((6, 2, 2, 5)))
    voices, words = random.normal(size=(6, 2, 8)), random.normal(size=(6, 2, 8))
    voices += 4 * random.normal(size=(6, 1, 8))
    voices[..., 4:] = words[..., :4] = 0
    inputs = voices[block, speaker] + words[block, text] + 0.1 * random.normal(size=(120, 8))
    inputs = (inputs - inputs.mean(axis=0)).astype(np.float32)

    def left(blocks: NDArray[np.int64] | None) -> float:
        found = fit_erasure(inputs, [2 * block + text], 4, 0.0, blocks)
        erased = inputs - (inputs @ found.read) @ found.write
        return float(np.linalg.norm(erased[:, :4]) / np.linalg.norm(inputs[:, :4]))

    assert left(block) > 0.95
    assert left(None) < 0.7
