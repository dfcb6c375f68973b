"""The parts of the loss, each by itself and together."""

from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.functional import normalize

from intervox.clips.labels import UNLABELLED
from intervox.errors import IntervoxError
from intervox.recipe.training import LossSettings, SubspaceSettings
from intervox.training.losses import PARTS, MultiPart, columns, coupling, multi_positive_loss

SUBSPACES = {
    "voice": SubspaceSettings(factor="speaker", dim=6, weight=1.0, temperature=0.2),
    "words": SubspaceSettings(factor="content", dim=5, weight=2.0, temperature=0.3),
    "room": SubspaceSettings(factor="condition", dim=4, weight=0.5, temperature=0.5),
}
EVERYTHING = LossSettings(
    within="engine", hard_negatives=0.4, cross_covariance=3.0, adversary=0.05, chunk=7
)  # fmt: skip


def batch(cells: int = 24, seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    vectors = {
        name: normalize(torch.randn(cells, s.dim, generator=generator, dtype=torch.float64), dim=1)
        for name, s in SUBSPACES.items()
    }
    names = ("speaker", "content", "condition", "engine")
    labels = torch.randint(0, 3, (len(names), cells), generator=generator)
    return vectors, dict(zip(names, labels, strict=True))


def multi_part(settings: LossSettings, subspaces: dict[str, SubspaceSettings] = SUBSPACES) -> MultiPart:
    torch.manual_seed(0)
    return MultiPart(subspaces, settings).double()


def test_the_total_is_the_weighted_sum_of_its_parts() -> None:
    vectors, labels = batch()
    module = multi_part(EVERYTHING)
    result = module(vectors, labels)
    v, w, r = vectors.values()
    expected = {"cross_covariance": (coupling(v, w) + coupling(v, r) + coupling(w, r)) / 3}
    for name, settings in SUBSPACES.items():
        others = [labels[factor] for factor in {"speaker", "content", "condition"} - {settings.factor}]
        expected[name], _ = multi_positive_loss(
            vectors[name], labels[settings.factor], settings.temperature,
            others=others, hard_negatives=0.4, within=labels["engine"],
        )  # fmt: skip
    assert result.parts.keys() == expected.keys() | {"adversary"}
    for name, value in expected.items():
        torch.testing.assert_close(result.parts[name], value, msg=name)
    weights = {n: s.weight for n, s in SUBSPACES.items()} | EVERYTHING.model_dump()
    total = sum(weights[name] * part for name, part in result.parts.items())
    torch.testing.assert_close(result.total, total)
    assert result.dropped == {"voice": 0, "words": 0, "room": 0}


def test_gradients_of_the_total_are_those_of_finite_differences() -> None:
    _, labels = batch(9)
    # The adversary's is reversed on purpose; see its own test.
    module = multi_part(EVERYTHING.model_copy(update={"adversary": 0.0}))

    def total(*spaces: Tensor) -> Tensor:
        vectors = {name: normalize(rows, dim=1) for name, rows in zip(SUBSPACES, spaces, strict=True)}
        result: Tensor = module(vectors, labels).total
        return result

    generator = torch.Generator().manual_seed(1)
    rows = [torch.randn(9, s.dim, generator=generator, dtype=torch.float64) for s in SUBSPACES.values()]
    assert torch.autograd.gradcheck(total, [x.requires_grad_() for x in rows], fast_mode=True)


def test_parts_of_weight_zero_are_not_computed() -> None:
    vectors, labels = batch()
    bare = LossSettings(cross_covariance=0.0)
    subspaces = SUBSPACES | {"room": SUBSPACES["room"].model_copy(update={"weight": 0.0})}
    module = multi_part(bare, subspaces)
    vectors["room"][:] = torch.nan
    result = module(vectors, labels)
    assert result.parts.keys() == result.dropped.keys() == {"voice", "words"}
    assert torch.isfinite(result.total)
    assert not module.state_dict()


def test_one_subspace_has_nothing_to_covary_with() -> None:
    vectors, labels = batch()
    alone = {"voice": SUBSPACES["voice"]}
    result = multi_part(LossSettings(), alone)({"voice": vectors["voice"]}, labels)
    assert result.parts.keys() == {"voice"}


def test_columns_are_what_forward_reads() -> None:
    two = {name: SUBSPACES[name] for name in ("voice", "words")}
    assert columns(two, LossSettings()) == {"speaker", "content"}
    assert columns(two, LossSettings(within="engine")) == {"speaker", "content", "engine"}


def test_every_part_is_weighed_by_a_field_of_its_name() -> None:
    assert PARTS.keys() <= LossSettings.model_fields.keys()


@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        ({"adversary": 1.0}, {"factor": "condition"}, "loss.adversary"),
        ({}, {"weight": 0.0}, "weight 0"),
    ],
)
def test_a_part_with_nothing_to_do_is_refused(
    settings: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    subspaces = {name: s.model_copy(update=change) for name, s in SUBSPACES.items()}
    with pytest.raises(IntervoxError, match=message):
        MultiPart(subspaces, LossSettings(**settings))


def test_the_adversarys_gradient_reaches_a_space_reversed_and_its_head_as_it_is() -> None:
    vectors, labels = batch()
    two = {name: SUBSPACES[name] for name in ("voice", "words")}
    module = multi_part(LossSettings(adversary=0.5, cross_covariance=0.0), two)
    heads = {name.removeprefix("parts.adversary.heads."): head for name, head in module.named_parameters()}
    assert heads.keys() == {"voice.content.weight", "words.speaker.weight"}
    spaces = {name: vectors[name].requires_grad_() for name in two}
    result = module(spaces, labels)
    inputs = [*spaces.values(), *heads.values()]
    actual = torch.autograd.grad(0.5 * result.parts["adversary"], inputs)
    of_total = torch.autograd.grad(
        module(spaces, labels).total
        - result.parts["voice"]
        - 2 * result.parts["words"],
        inputs,
    )  # fmt: skip

    objective = torch.stack(
        [
            multi_positive_loss(
                normalize(spaces[space] @ heads[f"{space}.{factor}.weight"].T, dim=1),
                labels[factor],
                two[other].temperature,
            )[0]
            for space, factor, other in (("voice", "content", "words"), ("words", "speaker", "voice"))
        ]
    ).mean()
    torch.testing.assert_close(result.parts["adversary"], objective)
    voice, words, *of_heads = torch.autograd.grad(0.5 * objective, inputs)
    torch.testing.assert_close(actual, (-voice, -words, *of_heads))
    torch.testing.assert_close(of_total, actual)


def test_a_head_learns_what_a_space_gives_away_and_training_hides_it() -> None:
    # The space is the speaker's, its first dims are the content's name: the adversary finds them.
    generator = torch.Generator().manual_seed(2)
    speaker, content = torch.arange(32) // 8, torch.arange(32) % 8
    names = torch.eye(12, dtype=torch.float64)
    rows = names[:, :8][content] @ names[:8] + names[8 + speaker]
    rows = rows + 0.01 * torch.randn(32, 12, generator=generator, dtype=torch.float64)
    labels = {"speaker": speaker, "content": content}
    two = {
        "voice": SubspaceSettings(factor="speaker", dim=12),
        "words": SubspaceSettings(factor="content", dim=12),
    }
    module = multi_part(LossSettings(adversary=1.0, cross_covariance=0.0), two)
    gate = torch.ones(12, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([gate, *module.parameters()], lr=0.1)
    for _ in range(25):
        vectors = {"voice": normalize(rows * gate, dim=1), "words": normalize(rows, dim=1)}
        optimizer.zero_grad()
        module(vectors, labels).total.backward()
        optimizer.step()
    assert gate[:8].abs().mean() < 0.5 * gate[8:].abs().mean()


def test_a_saved_loss_goes_on_in_the_same_bytes() -> None:
    settings = LossSettings(adversary=0.2)

    def steps(module: MultiPart, seeds: range) -> list[bytes]:
        totals = []
        for seed in seeds:
            vectors, labels = batch(seed=seed)
            total = module({n: v.float() for n, v in vectors.items()}, labels).total
            totals.append(total.detach().numpy().tobytes())
        return totals

    torch.manual_seed(0)
    undisturbed = MultiPart(SUBSPACES, settings)
    whole = steps(undisturbed, range(5))
    torch.manual_seed(0)
    killed = MultiPart(SUBSPACES, settings)
    before = steps(killed, range(2))
    resumed = MultiPart(SUBSPACES, settings)
    resumed.load_state_dict(load(save(killed.state_dict())))
    assert before + steps(resumed, range(2, 5)) == whole
    assert save(resumed.state_dict()) == save(undisturbed.state_dict())


@pytest.mark.parametrize("cells", [1, 5])
def test_a_batch_without_labels_has_a_finite_loss_and_gradient(cells: int) -> None:
    vectors, labels = batch(cells)
    unknown = {name: torch.full_like(values, UNLABELLED) for name, values in labels.items()}
    module = multi_part(EVERYTHING)
    for _ in range(2):
        spaces = {name: rows.clone().requires_grad_() for name, rows in vectors.items()}
        result = module(spaces, unknown)
        result.total.backward()
        assert torch.isfinite(result.total)
        for rows in spaces.values():
            assert rows.grad is not None
            assert torch.isfinite(rows.grad).all()


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
