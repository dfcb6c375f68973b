"""What contributors and packagers rely on is true: workflows, hooks, templates, citation, notices."""

import re
import tomllib

import yaml

from tests.conftest import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_workflows_call_targets_that_are_there() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
        steps = [step for job in jobs.values() for step in job["steps"]]
        for target in re.findall(r"make ([\w./-]+)", " ".join(step.get("run", "") for step in steps)):
            assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE), (path.name, target)


def test_every_supported_python_is_tested() -> None:
    checks = yaml.safe_load((ROOT / ".github" / "workflows" / "checks.yml").read_text(encoding="utf-8"))
    said = [line.rpartition(" ")[2] for line in PROJECT["project"]["classifiers"] if "Python :: 3." in line]
    assert checks["jobs"]["test"]["strategy"]["matrix"]["python"] == said
    assert PROJECT["project"]["requires-python"] == f">={said[0]}"


def test_the_hooks_are_the_linters_of_make() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    hooks = {hook["entry"].replace(".venv/bin/", "$(BIN)/").split(" --")[0] for hook in local["hooks"]}
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe
    lines = {line.strip().split(" --")[0].removesuffix(" .") for line in recipe[1].splitlines()}
    assert hooks == lines


def test_the_citation_names_the_work_and_the_paper() -> None:
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert said["license"] == PROJECT["project"]["license"]
    (paper,) = said["references"]
    assert PROJECT["project"]["urls"]["Paper"] == f"https://doi.org/{paper['doi']}"


def test_templates_can_be_read_and_the_notice_is_packaged() -> None:
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))
    assert PROJECT["project"]["license-files"] == ["LICENSE", "NOTICE"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "\n## [Unreleased]\n" in changes
