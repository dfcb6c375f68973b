"""Variants of a recipe: which are refused, how cells are chosen and what is measured."""

from dataclasses import replace

import numpy as np
import pytest

from intervox.errors import IntervoxError
from intervox.evaluation.representations import Representation
from intervox.evaluation.studies.measures import MEASURES, measure, with_content_trials
from intervox.evaluation.studies.variants import Variant, choose_variants, parse_vary, train_on
from intervox.evaluation.test_sets import EVALUATION_SEED
from intervox.evaluation.verification import verify
from intervox.features.store import Features
from intervox.recipe import Recipe
from tests.support.variants import TEXTS, Found, Setting, World, small_recipe


def chosen(recipe: Recipe, corpus: Setting, further: Found, seeds: int = 1) -> list[Variant]:
    cells, features = corpus
    return choose_variants(recipe, cells, lambda *_: features, further, seeds)


def test_options_are_crossed_and_read_as_yaml() -> None:
    found = parse_vary(["training.steps=0,5", "subspaces.speaker.layers=[0,1],null", "cells=engine=espeak"])
    assert list(found) == [
        "steps=0, layers=[0, 1], cells=engine=espeak",
        "steps=0, layers=None, cells=engine=espeak",
        "steps=5, layers=[0, 1], cells=engine=espeak",
        "steps=5, layers=None, cells=engine=espeak",
    ]
    assert list(found.values())[1] == {
        "training.steps": 0, "subspaces.speaker.layers": None, "cells": "engine=espeak",
    }  # fmt: skip
    twice = parse_vary(["subspaces.speaker.dim=2", "subspaces.content.dim=3"])
    assert list(twice) == ["subspaces.speaker.dim=2, subspaces.content.dim=3"]
    assert parse_vary([]) == {}


@pytest.mark.parametrize(
    "option", ["training.steps", "training.steps=", "=3", "loss.denominator=[all", "a={"]
)
def test_an_option_of_another_form_is_refused(option: str) -> None:
    with pytest.raises(IntervoxError, match="FIELD=VALUE"):
        parse_vary([option])


def test_a_field_is_varied_once() -> None:
    with pytest.raises(IntervoxError, match=r"training\.steps is given twice"):
        parse_vary(["training.steps=1", "training.steps=2"])


def test_overrides_reach_the_recipe_and_nothing_else_does(corpus: Setting) -> None:
    recipe = small_recipe(sweep={"variants": {"few": {"training.steps": 1, "seed": 7}}})
    further = {"cold": {"subspaces.speaker.temperature": "5e-2", "subspaces.content.layers": [1]}}
    plain, few, cold = chosen(recipe, corpus, further)
    assert (plain.name, plain.recipe) == ("recipe", recipe)
    assert (few.recipe.training.steps, few.recipe.seed) == (1, 7)
    assert few.recipe.model_copy(update={"training": recipe.training, "seed": 0}) == recipe
    assert cold.recipe.subspaces["speaker"].temperature == 0.05
    assert cold.recipe.subspaces["content"].layers == (1,)
    assert plain.mask.sum() == 8 * TEXTS * 2


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"backbone": 3}, "`backbone` is 3"),
        ({"corpus.copies": 3}, "`corpus.copies` can't be varied"),
        ({"evaluation.bootstrap": 3}, "`evaluation.bootstrap` can't be varied"),
        ({"loss.denom": "all"}, "unknown field `loss.denom`.*has denominator"),
        ({"subspaces.style.dim": 3}, "unknown field `subspaces.style.dim`"),
        ({"seed.more": 3}, "unknown field `seed.more`"),
        ({"loss.denominator": "most"}, "`loss.denominator` is 'most': it must be 'all' or 'negatives'"),
        ({"training.steps": -1}, "`training.steps` is -1: it must be at least 0"),
        ({"loss": 3}, "`loss` is 3: it must be a mapping"),
        ({"subspaces.speaker.layers": [0, 9]}, r"`layers` of a subspace is \[0, 9\]: .*layers 0 to 1"),
        ({"subspaces.speaker.factor": "engine"}, "a speaker and a content subspace"),
        ({"subspaces.speaker.erase": ["mood"]}, "no column 'mood'"),
        ({"loss.within": "mood"}, "no column 'mood'"),
        ({"subspaces.speaker.map": "attentive"}, r"attentive reads frames: set training\.depth"),
        ({"subspaces.speaker.weight": 0, "subspaces.content.weight": 0}, "every subspace has weight 0"),
        ({"training.validate_every": 5}, "needs validation cells"),
        ({"cells": "dry"}, "write a share between 0 and 1, clean, or COLUMN=VALUE"),
        ({"cells": 1.0}, "write a share between 0 and 1"),
        ({"cells": 3}, "write a share between 0 and 1"),
        ({"cells": "mood=glad"}, "write a share between 0 and 1, clean, or COLUMN=VALUE"),
        ({"cells": "engine=piper"}, "no training cell has engine 'piper', but espeak, kokoro"),
    ],
)
def test_a_wrong_variant_is_named(overrides: Found, complaint: str, corpus: Setting) -> None:
    with pytest.raises(IntervoxError, match=f"variant 'wrong': .*{complaint}"):
        chosen(small_recipe(), corpus, {"wrong": overrides})


def test_features_are_asked_once_a_backbone_and_when_all_fields_are_right(corpus: Setting) -> None:
    cells, features = corpus
    asked: list[tuple[str, bool]] = []

    def features_of(backbone: str, frames: bool) -> Features:
        asked.append((backbone, frames))
        return features

    wide: Found = {"backbone": "bundled:whisper-base"}
    pooled = wide | {"training.depth": "frames", "subspaces.speaker.map": "attentive"}
    further: Found = {"wide": wide, "pooled": pooled, "wrong": {"seed": -1}}
    with pytest.raises(IntervoxError, match="variant 'wrong'"):
        choose_variants(small_recipe(), cells, features_of, further, 1)
    assert not asked
    del further["wrong"]
    plain, *others = choose_variants(small_recipe(), cells, features_of, further, 1)
    assert asked == [("bundled:whisper-base", True), (plain.recipe.backbone, False)]
    assert {one.recipe.backbone for one in others} == {"bundled:whisper-base"}


def test_a_share_of_the_cells_is_drawn_from_those_of_training(corpus: Setting) -> None:
    cells, _ = corpus
    plain, half, again = chosen(small_recipe(), corpus, {"half": {"cells": 0.5}, "again": {"cells": 0.5}})
    assert half.mask.sum() == plain.mask.sum() / 2
    assert (half.mask == again.mask).all()
    assert not (half.mask & ~plain.mask).any()
    assert len(set(np.array(cells["block"].to_pylist())[half.mask])) > 1


def test_nothing_to_compare_is_refused_but_seeds_alone_are_something(corpus: Setting) -> None:
    with pytest.raises(IntervoxError, match="nothing to sweep"):
        chosen(small_recipe(), corpus, {})
    assert [v.name for v in chosen(small_recipe(), corpus, {}, 2)] == ["recipe"]


def test_cells_are_chosen_and_steps_see_as_many_of_them(corpus: Setting) -> None:
    cells, _ = corpus
    further = {"dry": {"cells": "clean"}, "kokoro": {"cells": "engine=kokoro"}}
    _, dry, kokoro = chosen(small_recipe(), corpus, further)
    condition, engine = (np.array(cells[name].to_pylist()) for name in ("condition", "engine"))
    assert set(condition[dry.mask]) == {"clean"}
    assert dry.mask.sum() == 8 * TEXTS
    assert dry.recipe.training.blocks_per_step == 4
    assert set(engine[kokoro.mask]) == {"kokoro"}
    assert not kokoro.mask[-1]
    assert kokoro.recipe.training.blocks_per_step == 8
    split = np.array(train_on(cells, dry.mask)["split"].to_pylist())
    assert set(split[dry.mask]) == {"train"}
    assert split[-1] == "test"
    assert (split == "unused").sum() == 8 * TEXTS


def test_measures_are_those_of_the_evaluation(world: World) -> None:
    test_set = world.test_set("people", range(10), 0.8)
    settings = small_recipe().evaluation
    spaces = {
        "speaker": Representation("speaker", lambda means: np.asarray(means[:, 0])),
        "content": Representation("content", lambda means: np.asarray(means[:, 1])),
    }
    found = measure(spaces, [with_content_trials(test_set, 2000)], settings, MEASURES)
    assert set(found) == {
        "people clean different_text", "people clean same_text_impostors", "people clean one_shot",
        "people clean content_eer", "people clean speaker_leak", "people cross_condition different_text",
        "people cross_condition content_eer",
    }  # fmt: skip
    vectors = {condition: spaces["speaker"].vectors(test_set, condition) for condition in test_set.whole}
    verified = verify(vectors, test_set.trials, test_set.clips, settings.bootstrap, EVALUATION_SEED)
    for condition, strata in verified.conditions.items():
        samples = np.array(found[f"people {condition} different_text"])
        expected = strata["different_text"]
        assert samples[0] == pytest.approx(expected.eer, abs=1e-5)
        assert np.quantile(samples[1:], [0.025, 0.975]) == pytest.approx(expected.eer_interval, abs=1e-5)
    # The second layer knows the text alone: it tells words, and voices by chance.
    assert found["people clean content_eer"][0] < 0.2
    assert found["people clean speaker_leak"][0] == pytest.approx(0.5, abs=0.08)
    worse = measure({**spaces, "content": spaces["speaker"]}, [with_content_trials(test_set, 2000)],
                    settings, {"content_eer": MEASURES["content_eer"]})  # fmt: skip
    assert worse["people clean content_eer"][0] == pytest.approx(0.5, abs=0.08)


def test_content_trials_cross_speakers(world: World) -> None:
    test_set = with_content_trials(world.test_set("people", range(4), 0.1), 2000)
    clips, trials = test_set.clips, test_set.trials["content"]
    for pairs, same in ((trials.targets, True), (trials.impostors, False)):
        first, second = pairs.T
        assert (clips.speakers[first] != clips.speakers[second]).all()
        assert ((clips.contents[first] == clips.contents[second]) == same).all()
    alone = replace(test_set.clips, labels={**clips.labels, "content": clips.speakers})
    assert "content" not in with_content_trials(replace(test_set, clips=alone, trials={}), 2000).trials
