"""The Dockerfiles: one description, read by container engines and by us."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
from tools.dockerfile import DockerfileError, Instruction, Stage, parse
from tools.image_parts import requirements, script
from tools.images import IMAGES, ROOT, TEST_IMAGES

from dapr_sidecar.components.registry import EXTRAS

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Program → what else of ours its image has: the dashboard looks with the CLI's eyes.
ALSO = {"dashboard": ("dapr_cli",)}
THERE = [folder for folder in IMAGES if (ROOT / folder / "Dockerfile").exists()]


def stages(folder: str) -> dict[str, Stage]:
    return {stage.name: stage for stage in parse(ROOT / folder / "Dockerfile")}


def copied(stage: Stage) -> list[tuple[str, list[str], str]]:
    return [each.copied() for each in stage.instructions if each.name == "COPY"]


def run(stage: Stage) -> str:
    return " ".join(each.text for each in stage.instructions if each.name == "RUN")


@pytest.mark.parametrize("folder", [*THERE, *TEST_IMAGES])
def test_every_image_is_nobody_on_a_small_python(folder: str) -> None:
    found = parse(ROOT / folder / "Dockerfile")
    assert {stage.base for stage in found} == {"python:3.11-slim"}
    assert [each.text for each in found[-1].instructions if each.name == "USER"] == ["65532:65532"]
    assert not run(found[-1])


@pytest.mark.parametrize("folder", THERE)
def test_an_image_has_its_own_code_and_the_shared(folder: str) -> None:
    package = f"dapr_{folder}"
    sources = [source for _, words, _ in copied(stages(folder)["code"]) for source in words]
    assert sources[:2] == ["common/dapr_common", f"{folder}/{package}"]
    imported = {
        name.partition(".")[0]
        for path in (ROOT / folder / package).rglob("*.py")
        for name in imports(path)
    }
    more = ALSO.get(folder, ())
    assert {name for name in imported if name.startswith("dapr_")} <= {
        "dapr_common",
        package,
        *more,
    }
    assert {f"{name.removeprefix('dapr_')}/{name}" for name in more} <= set(sources)


@pytest.mark.parametrize("folder", THERE)
def test_an_image_takes_its_extra_and_one_command(folder: str) -> None:
    words = run(stages(folder)["project"])
    command = "daprd" if folder == "sidecar" else f"dapr-{folder}"
    components = " components" if folder == "sidecar" else ""
    assert f"image_parts.py requirements {folder}{components} >" in words
    assert f"image_parts.py script {command} " in words
    assert set(PROJECT["dependencies"]) < set(requirements(PROJECT, folder))
    assert f"from dapr_{folder}.__main__ import main" in script(PROJECT, command, "/python")


@pytest.mark.parametrize("folder", THERE)
def test_what_is_copied_is_sent_to_the_engine(folder: str) -> None:
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for stage in parse(ROOT / folder / "Dockerfile"):
        for origin, sources, _ in copied(stage):
            assert origin or {f"!{source}" for source in sources} <= set(sent)


def test_the_sidecars_image_can_load_every_component() -> None:
    """Another manifest is another store: nobody builds an image for it."""
    extras = PROJECT["optional-dependencies"]
    packages = requirements(PROJECT, "sidecar", "components")
    for extra in set(EXTRAS.values()):
        assert set(extras[extra]) <= set(packages)
    assert not [each for each in packages if each.startswith(PROJECT["name"])]


def test_pods_name_the_sidecar_as_its_first_argument() -> None:
    """So the image has no ENTRYPOINT that it would be an argument of."""
    found = {each.name: each.text for each in stages("sidecar")[""].instructions}
    assert "ENTRYPOINT" not in found
    assert found["CMD"] == '["/daprd"]'
    assert "/image/daprd" in run(stages("sidecar")["code"])


def test_lines_are_joined_and_arguments_replaced(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(
        "# a comment\nARG BASE=one\nFROM ${BASE} AS first\n"
        "RUN a \\\n # between\n && b ${HOME}\nENV A=1 \\\n    B=2\nCOPY --from=x /a b ./\n"
    )
    (stage,) = parse(path, {"BASE": "two"})
    assert stage == Stage(
        "first",
        "two",
        [
            Instruction("RUN", "a && b ${HOME}"),
            Instruction("ENV", "A=1 B=2"),
            Instruction("COPY", "--from=x /a b ./"),
        ],
    )
    assert stage.instructions[1].pairs() == {"A": "1", "B": "2"}
    assert stage.instructions[2].copied() == ("x", ["/a", "b"], "./")


@pytest.mark.parametrize(
    "text",
    ["", "RUN a", "FROM a b", "FROM a\nADD x y", "FROM a\nHEALTHCHECK NONE", "FROM a\nARG B=1"],
)
def test_what_is_not_understood_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(text)
    with pytest.raises(DockerfileError):
        parse(path)


@pytest.mark.parametrize("text", ["a", "--from=x a", "--chown=1 a b"])
def test_copies_need_sources_and_a_target(text: str) -> None:
    with pytest.raises(DockerfileError, match="expected sources"):
        Instruction("COPY", text).copied()


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found
