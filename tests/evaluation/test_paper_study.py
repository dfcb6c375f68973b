"""The paper's evaluation: its conditions, strata by gender, the linear head, and the two tables."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intervox.clips.labels import Clips
from intervox.errors import IntervoxError
from intervox.evaluation.protocols.genders import read_genders
from intervox.evaluation.results import PaperRun
from intervox.evaluation.studies.paper import CONDITIONS, evaluate_paper, paper_variants
from intervox.evaluation.studies.paper_measures import (
    ALL,
    DIFFERENT,
    SAME,
    head_correct,
    with_paper_trials,
)
from intervox.evaluation.test_sets import TestSet as Prepared
from intervox.metrics.trials import Trials
from intervox.reporting.paper_tables import paper_tables
from intervox.tables import FORMATS
from tests.support.variants import Setting, World, small_recipe


@pytest.fixture
def people(world: World) -> Prepared:
    return world.test_set("people", range(10, 16), 0.6)


def test_impostors_are_parted_by_gender_and_targets_are_shared(people: Prepared) -> None:
    genders = {"s10": "male", "s11": "male", "s12": "female", "s13": "female", "s14": "female"}
    trials = with_paper_trials(people, genders).trials
    speakers = people.clips.speakers
    assert trials[ALL] is people.trials["different_text"]
    assert trials[SAME].targets.tolist() == trials[DIFFERENT].targets.tolist()
    for name, alike in ((SAME, True), (DIFFERENT, False)):
        for first, second in trials[name].impostors:
            pair = genders[speakers[first]], genders[speakers[second]]
            assert (pair[0] == pair[1]) is alike
    # s15 has no gender: its trials are in neither, and in the whole.
    both = np.concatenate([trials[SAME].impostors, trials[DIFFERENT].impostors, trials[SAME].targets])
    assert "s15" not in speakers[both]
    assert "s15" in speakers[trials[ALL].impostors]
    assert SAME not in with_paper_trials(people).trials
    official = Trials(people.trials["all"].targets[:5], people.trials["all"].impostors[:5])
    listed = replace(people, trials=people.trials | {"list:O": official, "list:O_cleaned": official})
    assert with_paper_trials(listed).trials[ALL] is official


def test_the_linear_head_is_tested_on_strangers() -> None:
    random = np.random.default_rng(0)
    words = np.repeat(np.array(["yes", "no", "stop", "go"]), 30)
    speakers = np.tile(np.array([f"p{number}" for number in range(10)]), 12)
    clips = Clips(
        np.array([f"{number}" for number in range(120)]),
        {"speaker": speakers, "content": words},
        np.ones(120),
        np.full(120, ""),
    )
    centres = random.normal(size=(4, 16))
    told = np.asarray(centres[np.unique(words, return_inverse=True)[1]], np.float32)
    told += random.normal(0, 0.3, told.shape).astype(np.float32)
    tested, correct = head_correct(told, clips)
    assert sorted(tested.tolist()) == list(range(120))
    assert correct.mean() > 0.95
    again = head_correct(told, clips)
    assert (again[1] == correct).all()
    noise = random.normal(size=told.shape).astype(np.float32)
    assert head_correct(noise, clips)[1].mean() < 0.5
    # What only tells the speakers is of no use: they are others.
    who = np.eye(10, dtype=np.float32)[np.unique(speakers, return_inverse=True)[1]]
    assert head_correct(who, clips)[1].mean() < 0.5


def test_the_four_conditions_are_measured_from_both_spaces(
    corpus: Setting, people: Prepared, tmp_path: Path
) -> None:
    recipe = small_recipe(loss={"orthogonality": 1.0})
    genders = {f"s{number}": ("male", "female")[number % 2] for number in range(10, 16)}
    found = evaluate_paper(*corpus, None, lambda *_: [people], recipe, 3, tmp_path, genders)
    assert PaperRun.model_validate(json.loads(json.dumps(found.dump()))) == found
    assert [one.name for one in found.conditions] == list(CONDITIONS)
    by_name = {one.name: one.figures for one in found.conditions}
    unknown = evaluate_paper(*corpus, None, lambda *_: [people], recipe, 1, tmp_path)
    assert not [key for one in unknown.conditions for key in one.figures if "gender" in key]
    assert len(by_name["joint"]) == 8
    none = by_name["none"]
    # Without a network the spaces are one.
    both = [none[f"people clean paper-from-{space}"].by_seed for space in ("speaker", "content")]
    assert both[0] == both[1]
    assert len(by_name["joint"]["people clean paper-from-speaker"].by_seed) == 3
    first, second = paper_tables([found])
    ours = [row for row in first.rows if row[0] == "ours"]
    assert [row[3:5] for row in ours] == [
        ["none", "–"],
        *([name, space] for name in CONDITIONS[1:] for space in ("speaker", "content")),
    ]
    assert all("±" in cell for row in ours[1:] for cell in row[5:])
    published = {tuple(row[1:4:2]): row[5] for row in first.rows if row[0] == "published"}
    assert published["WavLM Base", "joint"] == "24.7"
    assert [row[5] for row in second.rows if row[0] == "published" and row[1] == "HuBERT Base"] == [
        "95.7",
        "89.7",
    ]
    for form in FORMATS.values():
        assert "24.7" in form([first])


def test_a_factor_alone_loses_what_ties_it_to_the_other(corpus: Setting) -> None:
    recipe = small_recipe(loss={"orthogonality": 1.0, "cross_covariance": 0.5})
    variants = paper_variants(recipe, *corpus)
    joint = variants["joint"].recipe
    assert joint.loss == recipe.loss
    speaker, content = variants["speaker only"].recipe, variants["content only"].recipe
    assert (speaker.subspaces["content"].weight, speaker.subspaces["speaker"].weight) == (0, 1)
    assert (content.subspaces["content"].weight, content.subspaces["speaker"].weight) == (1, 0)
    assert (speaker.loss.orthogonality, content.loss.cross_covariance) == (0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "speaker,gender\n26,M\n27,female\n28,\n",
        "; comment\n;ID  |SEX| SUBSET |MINUTES| NAME\n26   | M | test-other | 8 | A\n27 | F | x | 8 | B\n",
        "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n26\tA\tm\tUSA\tdev\n27\tB\tf\tUSA\ttest\n",
    ],
)
def test_genders_are_read_from_three_kinds_of_table(tmp_path: Path, text: str) -> None:
    path = tmp_path / "speakers.txt"
    path.write_text(text)
    assert read_genders(path) == {"26": "male", "27": "female"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("26,M\n", "names no columns speaker and gender"),
        ("speaker,gender\n26,x\n", "line 2: the gender is 'x'"),
        ("speaker,gender\n26\n", "line 2 lacks the gender"),
    ],
)
def test_other_tables_of_genders_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "speakers.txt"
    path.write_text(text)
    with pytest.raises(IntervoxError, match=said):
        read_genders(path)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.end_to_end
def test_the_command_prints_and_writes_both_tables(
    mini_run: Path, command: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    run = tmp_path / "mini"
    shutil.copytree(mini_run, run)
    words = ("paper", "mini", "--folder", str(run), "--seeds", "2")
    refused = command(*words, "--format", "html")
    assert refused.returncode == 2
    assert "there is no format 'html'" in refused.stderr
    done = command(*words, "--format", "csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (run / "paper.csv").read_text().strip()
    assert "published,WavLM Base,VoxCeleb1-O cleaned,joint,speaker,24.7" in done.stdout
    assert (run / "paper.tex").read_text().count(r"\begin{tabular}") == 2
    found = PaperRun.read(run / "paper.json")
    assert [len(one.seeds) for one in found.conditions] == [0, 2, 2, 2]
