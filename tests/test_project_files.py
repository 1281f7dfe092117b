"""The files of the project agree: workflows, make, hooks, versions, citation, changelog."""

import re
import shlex

import pytest
import yaml

from .project_file import PROJECT, ROOT

WORKFLOWS = {path.stem: path for path in (ROOT / ".github/workflows").glob("*.yml")}
FORMS = [path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs():
    """Yield name, settings of each combination, and the job, of every job."""
    for name, path in WORKFLOWS.items():
        for job in read(path)["jobs"].values():
            matrix = job.get("strategy", {}).get("matrix", {})
            rows = matrix.get("include") or [
                {"python": one} for one in matrix.get("python", [None])
            ]
            for row in rows:
                yield name, row, job


def made(job):
    """Return the make targets that a job runs, in order."""
    lines = [shlex.split(step["run"]) for step in job["steps"] if "run" in step]
    lines = [line[1:] if line[0] == "sudo" else line for line in lines]
    return [target for first, *rest in lines if first == "make" for target in rest]


def test_the_workflows_cover_what_is_supported():
    tested = [(row["python"], row["extra"]) for name, row, _ in jobs() if name == "test"]
    assert tested == [("3.10", "onedl"), ("3.12", "onedl"), ("3.11", "openmmlab")]
    floor = re.fullmatch(r">=(\d+\.\d+)", PROJECT["project"]["requires-python"])[1]
    assert min((one for one, _ in tested), key=lambda one: int(one.split(".")[1])) == floor
    named = {
        one.rsplit(" ", 1)[1]
        for one in PROJECT["project"]["classifiers"]
        if re.search(r"Python :: 3\.\d+$", one)
    }
    assert {python for python, _ in tested} == named
    for _, extra in tested:
        assert extra in PROJECT["project"]["optional-dependencies"]
        assert (ROOT / f"constraints-{extra}.txt").is_file()


def test_they_run_the_targets_of_the_local_check():
    local = re.findall(r"^make (\w+)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert local == ["check", "databases", "test"]
    found = {name: made(job) for name, _, job in jobs()}
    assert found == {
        "test": ["setup", *local],
        "base": ["base"],
        "weekly": ["setup", "test"],
    }
    assert set().union(*found.values()) <= TARGETS


def test_weekly_takes_the_newest_versions():
    ((_, _, job),) = (one for one in jobs() if one[0] == "weekly")
    assert job["env"]["CONSTRAINTS"] == "" and "PIP_CONSTRAINT=$(CONSTRAINTS)" in MAKEFILE
    assert "constraints-" not in MAKEFILE.replace("CONSTRAINTS ?= constraints-$(EXTRA).txt", "")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_each_workflow_is_bounded_and_only_reads(name):
    content = read(WORKFLOWS[name])
    assert content["permissions"] == {"contents": "read"}
    assert {"name", "jobs"} < set(content) and True in content  # YAML 1.1 reads "on" so
    for job in content["jobs"].values():
        assert job["timeout-minutes"] <= 90 and job["runs-on"] == "ubuntu-latest"
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert "uses" not in step or re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])


def test_what_make_tests_with_the_base_install_is_there():
    listed = re.search(r"^BASE_TESTS := ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)[1]
    paths = listed.replace("\\\n", " ").split()
    assert paths and all((ROOT / path).exists() for path in paths), paths


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_have_what_forms_need(path):
    form = read(path)
    assert form["name"] and form["description"]
    kinds = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
    assert {part["type"] for part in form["body"]} <= kinds
    fields = [part for part in form["body"] if part["type"] != "markdown"]
    assert fields and all(part["id"] and part["attributes"]["label"] for part in fields)
    assert len({part["id"] for part in fields}) == len(fields)


def test_hooks_have_the_versions_of_the_constraints_and_no_environment_of_ours():
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert not re.search(r"^ +entry:.*\.venv", text, re.MULTILINE)
    hooks = [hook for repo in yaml.safe_load(text)["repos"] for hook in repo["hooks"]]
    assert {hook["language"] for hook in hooks} == {"python"}
    pins = [pin for hook in hooks for pin in hook.get("additional_dependencies", [])]
    lines = (ROOT / "constraints-onedl.txt").read_text(encoding="utf-8").splitlines()
    assert pins and all(re.sub(r"\[\w+\]", "", pin) in lines for pin in pins), pins


def test_the_citation_is_of_this_version():
    citation = read(ROOT / "CITATION.cff")
    project = PROJECT["project"]
    assert (citation["title"], citation["version"]) == (project["name"], project["version"])
    assert citation["license"] == project["license"]
    assert {"cff-version", "message", "authors"} < set(citation) and "doi" not in citation


def test_the_changelog_has_this_version_and_names_what_is_there():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{PROJECT['project']['version']}]" in text
    rows = re.findall(r"^\| `[^|]*\| ([^|]*) \|$", text, re.MULTILINE)
    paths = [path for row in rows for path in re.findall(r"`([\w/]+(?:/|\.py))`", row)]
    assert len(paths) > 15
    assert not [path for path in paths if not (ROOT / path).exists()]
