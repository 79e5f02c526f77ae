"""Images laid without a container engine: stages of copies, layers, archives.

``RUN`` needs root and a base image; the images of the end-to-end tests are made by it.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from tools.dockerfile import parse
from tools.oci import Layout
from tools.stages import Builder, BuildError

FILE = """\
FROM base AS one
WORKDIR /made
COPY code ./code
FROM base AS two
COPY --from=one /made/code /image/opt/code
FROM base
ENV A=1 B=2
COPY --from=two /image /
USER 65532:65532
ENTRYPOINT ["run"]
"""


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    for name, text in (("root/etc/base", "base"), ("checkout/code/a.py", "print()")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "cache" / "stages").mkdir(parents=True)
    layout = Layout(tmp_path / "images")
    return Builder(tmp_path / "checkout", tmp_path / "root", tmp_path / "cache", layout)


def build(builder: Builder, text: str = FILE, name: str = "registry/image:1") -> str:
    path = builder.checkout / "Dockerfile"
    path.write_text(text)
    builder.image(name, parse(path))
    return builder.layout.names()[name]


def names_in(builder: Builder, digest: str, layer: int) -> list[str]:
    found = builder.layout.manifest(digest)["layers"][layer]["digest"]
    with tarfile.open(builder.layout.path(found)) as archive:
        return archive.getnames()


def test_an_image_is_its_base_and_a_layer_for_each_copy(builder: Builder) -> None:
    digest = build(builder)
    manifest = builder.layout.manifest(digest)
    assert len(manifest["layers"]) == 2
    assert "etc/base" in names_in(builder, digest, 0)
    assert names_in(builder, digest, 1) == ["opt", "opt/code", "opt/code/a.py"]
    config = json.loads(builder.layout.path(manifest["config"]["digest"]).read_bytes())
    assert config["config"] == {"Env": ["A=1", "B=2"], "User": "65532:65532", "Entrypoint": ["run"]}
    assert config["rootfs"]["diff_ids"] == [each["digest"] for each in manifest["layers"]]


def test_the_same_content_is_the_same_image(builder: Builder, tmp_path: Path) -> None:
    first = build(builder)
    (builder.checkout / "code" / "a.py").touch()
    other = Builder(builder.checkout, builder.root, tmp_path / "other", Layout(tmp_path / "second"))
    (tmp_path / "other" / "stages").mkdir(parents=True)
    assert build(other) == first


def test_changed_code_changes_its_layer_only(builder: Builder) -> None:
    before = builder.layout.manifest(build(builder))["layers"]
    (builder.checkout / "code" / "a.py").write_text("print(1)")
    after = builder.layout.manifest(build(builder))["layers"]
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_files_belong_to_root_and_have_no_time(builder: Builder) -> None:
    digest = build(builder)
    layer = builder.layout.manifest(digest)["layers"][1]["digest"]
    with tarfile.open(builder.layout.path(layer)) as archive:
        assert {(each.uid, each.gid, each.uname, each.mtime) for each in archive} == {(0, 0, "", 0)}


def test_an_archive_has_what_the_other_side_lacks(builder: Builder) -> None:
    digest = build(builder)
    build(builder, name="registry/other:1")
    base = builder.layout.manifest(digest)["layers"][0]["digest"]
    sink = io.BytesIO()
    builder.layout.write_archive(sink, ["registry/image:1"], without=[base])
    sink.seek(0)
    with tarfile.open(fileobj=sink) as archive:
        held = archive.getnames()
        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
    assert [each["digest"] for each in index["manifests"]] == [digest]
    kept = set(builder.layout.contents(digest)) - {base}
    assert {name for name in held if name.startswith("blobs/")} == {
        f"blobs/sha256/{each.removeprefix('sha256:')}" for each in kept
    }


def test_blobs_of_no_image_are_removed(builder: Builder) -> None:
    old = build(builder)
    (builder.checkout / "code" / "a.py").write_text("print(1)")
    new = build(builder)
    builder.layout.prune()
    assert not builder.layout.path(old).exists()
    assert all(builder.layout.path(each).exists() for each in builder.layout.contents(new))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM base AS one\nCOPY missing ./\nFROM base", "missing is not there"),
        ("FROM base AS one\nUSER 1\nFROM base", "USER is for the last stage only"),
        ("FROM base AS one\nFROM one", "FROM the base image"),
        ("FROM base\nRUN a", "not in the last stage"),
        ("FROM base\nCOPY code /", "expected one source of a stage"),
        (
            "FROM base AS one\nCOPY code ./\nFROM base\nCOPY --from=one /etc /",
            "made no such folder",
        ),
        ("FROM base AS one\nCOPY --from=two /a ./\nFROM base", "no stage two before it"),
    ],
)
def test_what_an_engine_alone_could_build_is_refused(
    text: str, said: str, builder: Builder
) -> None:
    with pytest.raises(BuildError, match=said):
        build(builder, text)
