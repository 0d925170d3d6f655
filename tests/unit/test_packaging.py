"""What is installed, shipped and locked is what the project says."""

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = ROOT / "requirements.txt"
TEST = ROOT / ".github" / "requirements-test.txt"
CICD = ROOT / ".github" / "requirements-cicd.txt"


@cache
def pins(file: Path) -> dict[str, str]:
    """Return the version of each package that a requirements file pins."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    pinned = [Requirement(line) for line in lines if not line.lstrip().startswith("#")]
    assert all(len(one.specifier) == 1 and str(one.specifier).startswith("==") for one in pinned), file
    return {canonicalize_name(one.name): str(one.specifier)[2:] for one in pinned}


def asked_for() -> list[tuple[Path, Requirement]]:
    """Return each direct requirement of pyproject.toml, with the file that has to pin it."""
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    runs = [(LOCK, one) for one in [*project["dependencies"], *extras]]
    works = [(TEST, one) for one in groups["test"]] + [(CICD, one) for one in groups["cicd"]]
    return [(file, Requirement(one)) for file, one in runs + works]


@pytest.mark.parametrize(("file", "wanted"), asked_for(), ids=lambda value: getattr(value, "name", None))
def test_every_direct_requirement_is_locked_to_a_version_it_accepts(file: Path, wanted: Requirement) -> None:
    """A requirement that is added or narrowed without 'make lock' is found here."""
    pinned = {**pins(LOCK), **pins(file)}.get(canonicalize_name(wanted.name))
    assert pinned is not None, f"{wanted.name} is not in {file.name}; run 'make lock'"
    assert wanted.specifier.contains(pinned), f"{wanted} does not accept {pinned}; run 'make lock'"


def test_no_package_is_pinned_in_two_files() -> None:
    """The three files are installed together, so one package has one pin in one of them."""
    locked, test, cicd = set(pins(LOCK)), set(pins(TEST)), set(pins(CICD))
    assert (locked & test) | (locked & cicd) | (test & cicd) == set()


def test_the_lock_fits_the_cpu_build_of_torch() -> None:
    """Neither a CUDA library nor a build of torch that only some index has may enter the lock."""
    locked = pins(LOCK)
    assert [name for name in locked if re.match("nvidia|cuda|triton", name)] == []
    assert "+" not in locked["torch"]


@pytest.mark.parametrize("file", [LOCK, TEST, CICD], ids=lambda file: file.name)
def test_a_requirements_file_names_no_place(file: Path) -> None:
    """Indexes and folders are the business of the machine that installs, not of these files."""
    assert re.findall(r"^.*(?:://|--\w|^-[ief]| @ ).*$", file.read_text(encoding="utf-8"), re.MULTILINE) == []


@pytest.mark.parametrize("file", ["config.yml", "executors/match_data.yml"])
def test_an_executor_configuration_names_a_class_that_its_module_has(file: str) -> None:
    """Renaming an Executor, moving it or dropping one of its options breaks its configuration."""
    config = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    [module] = config["py_modules"]
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    [executor] = [one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == config["jtype"]]
    [init] = [one for one in executor.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
    accepted = {argument.arg for argument in init.args.args + init.args.kwonlyargs}
    assert config["jtype"] == config["metas"]["name"]
    assert set(config.get("with", {})) - accepted == set()


def test_every_folder_of_modules_is_a_package() -> None:
    """Setuptools ships only folders with an __init__.py, and an editable install would not show it."""
    folders = {file.parent for top in ("executors", "finetuner") for file in (ROOT / top).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_datasets_folder_is_no_package() -> None:
    """As a package it would shadow the library of the same name that sentence-transformers can train with."""
    assert list((ROOT / "datasets").rglob("*.py")) == []


def test_pre_commit_uses_the_versions_of_the_lock() -> None:
    """A hook with another Black than 'make lint' would undo what CI asks for."""
    [repo] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    wanted = [one for hook in repo["hooks"] for one in hook.get("additional_dependencies", [])]
    assert {"black", "ruff"} == {Requirement(one).name for one in wanted}
    assert [one for one in wanted if one not in CICD.read_text(encoding="utf-8").splitlines()] == []


def test_make_alone_explains_every_target() -> None:
    """A target without a '## ...' comment would not be in the help."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [phony] = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    explained = re.findall(r"^  ([a-z0-9-]+) +\S", shown, re.MULTILINE)
    assert phony.split() == ["help", *explained]
