"""What a bundle decides about images: names, places, logins, platforms."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from harness.bundles import Layout, layout

from dapr_cli.bundle import credentials
from dapr_cli.bundle.archives import Archive, Platform
from dapr_cli.bundle.for_cluster import require_platforms, set_value, without_images
from dapr_cli.bundle.image_names import PROGRAMS, Common, ImageName, Place, common
from dapr_cli.bundle.images import export
from dapr_cli.bundle.registry_login import parse_challenges
from dapr_cli.console import Console
from dapr_cli.errors import CliError
from dapr_cli.kube import shipped
from dapr_cli.kube.nodes import node
from dapr_common.kube.yaml_text import load_yaml


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("localhost/dapr/daprd:0.1.0", "localhost/dapr/daprd:0.1.0"),
        ("registry.example.com:5000/daprd:v1_2", "registry.example.com:5000/daprd:v1_2"),
        ("someone/daprd:1", "docker.io/someone/daprd:1"),
        ("redis:7", "docker.io/library/redis:7"),
    ],
)
def test_names_of_images(text: str, full: str) -> None:
    assert str(ImageName.parse(text)) == full


@pytest.mark.parametrize("text", ["", "daprd", "host.io/daprd", "host.io/daprd@sha256:ab", "a/B:1"])
def test_what_is_no_name_of_an_image(text: str) -> None:
    with pytest.raises(ValueError, match="no name of an image with a tag"):
        ImageName.parse(text)


@pytest.mark.parametrize(
    ("text", "host", "repository", "loopback"),
    [
        ("localhost:5000/dapr", "localhost:5000", "dapr/daprd", True),
        ("127.0.0.1:5000", "127.0.0.1:5000", "daprd", True),
        ("[::1]:5000/a", "[::1]:5000", "a/daprd", True),
        ("registry.example.com/a/b-c/", "registry.example.com", "a/b-c/daprd", False),
        ("127.0.0.1.example.com/a", "127.0.0.1.example.com", "a/daprd", False),
        ("localhost.example.com/a", "localhost.example.com", "a/daprd", False),
        ("docker.io/someone", "registry-1.docker.io", "someone/daprd", False),
    ],
)
def test_places(text: str, host: str, repository: str, loopback: bool) -> None:
    place = Place.parse(text, "--registry")
    assert (place.server, place.repository("daprd")) == (host, repository)
    assert place.is_loopback == loopback
    assert str(place) == text.rstrip("/")


@pytest.mark.parametrize("text", ["", "dapr", "dapr/x", "host.io/UPPER", "host.io//x", "a b.io/x"])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(CliError, match="this is not HOST"):
        Place.parse(text, "--registry")


def test_a_place_has_no_scheme() -> None:
    with pytest.raises(CliError, match="without a scheme") as caught:
        Place.parse("http://host.io/x", "--image-registry")
    assert caught.value.hint.startswith("Say --image-registry host.io/x")


def test_the_charts_images_have_one_registry_and_one_tag() -> None:
    names = ["localhost/dapr/daprd:1", "localhost/dapr/sentry:1", "localhost/other/redis:7"]
    assert common(names) == Common("localhost/dapr", "1")
    assert common(names[2:]) is None
    for odd in ("localhost/dapr/injector:2", "elsewhere.io/dapr/injector:1"):
        with pytest.raises(CliError, match="of several versions or registries"):
            common([*names, odd])


def test_the_charts_images_are_the_charts() -> None:
    found = set()
    for file in shipped.chart().glob("charts/*/values.yaml"):
        values = load_yaml(file.read_text())
        for key in ("image", "injectorImage"):
            found.add(values.get(key, {}).get("name"))
    assert found - {None, "scheduler"} == PROGRAMS, "there is no scheduler"


# --- archives -----------------------------------------------------------------------------------


def test_platforms_of_an_archive(tmp_path: Path) -> None:
    images = Layout(tmp_path / "layout")
    images.add("localhost/dapr/daprd:1", "amd64", "arm64")
    images.add("localhost/dapr/sentry:1", "arm64")
    files = export(images.folder, tmp_path / "images", Console())
    both, one = images.digests
    (file,) = {tmp_path / "images" / file for file in files.values()}
    with Archive(file, both) as archive:
        kinds = [manifest.is_index for manifest in archive.manifests()]
        assert kinds == [False, False, True], "a list comes last"
        assert archive.platforms() == {Platform("linux", "amd64"), Platform("linux", "arm64")}
        assert archive.root.digest == images.digests["localhost/dapr/daprd:1"]
    with Archive(file, one) as archive:
        assert archive.platforms() == {Platform("linux", "arm64")}


def test_what_is_no_archive(tmp_path: Path) -> None:
    file = tmp_path / "x.tar"
    file.write_bytes(b"x" * 2000)
    with (
        pytest.raises(CliError, match="is no OCI archive with the image x:1"),
        Archive(file, "x:1"),
    ):
        pass
    images = layout(tmp_path / "layout")
    export(images.folder, tmp_path / "images", Console())
    with (
        Archive(tmp_path / "images" / "images.tar", "x:1") as archive,
        pytest.raises(CliError, match="is no OCI archive with the image x:1"),
    ):
        assert archive.root


def test_an_image_without_a_name_is_not_packed(tmp_path: Path) -> None:
    images = Layout(tmp_path / "layout")
    images.add("0.1.0")  # as some tools write a tag and no name
    with pytest.raises(CliError, match="cannot be found by any cluster"):
        export(images.folder, tmp_path / "images", Console())
    images = layout(tmp_path / "two", programs=["daprd"])
    images.add("localhost/dapr/sentry:other")
    with pytest.raises(CliError, match="of several versions"):
        export(images.folder, tmp_path / "images", Console())
    assert not (tmp_path / "images").exists()


# --- nodes --------------------------------------------------------------------------------------


def a_node(name: str, architecture: str = "amd64", *images: str) -> dict[str, object]:
    return {
        "metadata": {"name": name},
        "status": {
            "nodeInfo": {"operatingSystem": "linux", "architecture": architecture},
            "images": [{"names": ["localhost/x@sha256:ab", image]} for image in images],
        },
    }


def test_platforms_that_do_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    amd, arm = node(a_node("a")), node(a_node("b", "arm64"))
    images = {"x/daprd:1": {Platform("linux", "amd64")}}
    require_platforms(images, [], Console())
    require_platforms(images, [amd], Console())
    assert capsys.readouterr().err == ""
    with pytest.raises(CliError, match="x/daprd:1 is for linux/amd64, the cluster's nodes are "):
        require_platforms(images, [arm], Console())
    require_platforms(images, [amd, arm], Console())
    assert "it does not run on b (linux/arm64)" in capsys.readouterr().err


def test_nodes_without_images() -> None:
    found = [node(a_node("a", "amd64", "x:1", "y:1")), node(a_node("b", "amd64", "x:1"))]
    assert without_images(found, {"x:1"}) == []
    assert without_images(found, {"x:1", "y:1"}) == ["b"]
    assert without_images([node({"metadata": {"name": "new"}})], {"x:1"}) == ["new"]


def test_what_the_user_set() -> None:
    sets = ["a.b=1,global.registry=x/y", "global.registry= z"]
    assert set_value(sets[:1], "global.registry") == "x/y"
    assert set_value(sets, "global.registry") == " z"
    assert set_value(sets, "registry") == ""


# --- logins -------------------------------------------------------------------------------------


def config(tmp_path: Path, body: object) -> dict[str, str]:
    (tmp_path / "config.json").write_text(body if isinstance(body, str) else json.dumps(body))
    return {"DOCKER_CONFIG": str(tmp_path)}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("key", ["host.io:5000", "https://host.io:5000", "http://host.io:5000/v1/"])
def test_a_login_of_docker(tmp_path: Path, key: str) -> None:
    auths = {"other.io": {"auth": encoded("a:b")}, key: {"auth": encoded("me:pass:word")}}
    found = credentials.find("host.io:5000", config(tmp_path, {"auths": auths}))
    assert found is not None
    assert (found.username, found.password) == ("me", "pass:word")
    assert found.basic == f"Basic {encoded('me:pass:word')}"
    assert "pass:word" not in repr(found)
    assert credentials.find("host.io", config(tmp_path, {"auths": auths})) is None


def test_logins_of_other_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    auths = {"https://index.docker.io/v1/": {"identitytoken": "t"}, "empty.io": {}}
    env = config(tmp_path, {"auths": auths, "credHelpers": {"kept.io": "test"}})
    hub = credentials.find("docker.io", env)
    assert hub is not None
    assert hub.identity_token == "t"
    assert credentials.find("empty.io", env) is None
    with pytest.raises(CliError, match=r"docker-credential-test, which keeps the login to kept.io"):
        credentials.find("kept.io", env)
    program = tmp_path / "docker-credential-test"
    program.write_text(
        "#!/bin/sh\nread host\n"
        '[ "$host" = kept.io ] || exit 1\n'
        'echo "{\\"Username\\": \\"me\\", \\"Secret\\": \\"$1\\"}"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    kept = credentials.find("kept.io", env)
    assert kept is not None
    assert (kept.username, kept.password) == ("me", "get")
    env = config(tmp_path, {"credsStore": "test"})
    assert credentials.find("kept.io", env) == kept
    assert credentials.find("unknown.io", env) is None


@pytest.mark.parametrize("body", ["no json", "[]", {"auths": {"h.io": {"auth": "%%"}}}])
def test_a_broken_file_is_named(tmp_path: Path, body: object) -> None:
    with pytest.raises(CliError, match=r"config.json cannot be read"):
        credentials.find("h.io", config(tmp_path, body))


def test_no_file_is_no_login(tmp_path: Path) -> None:
    assert credentials.find("h.io", {"DOCKER_CONFIG": str(tmp_path)}) is None


def test_what_a_registry_wants() -> None:
    bearer = 'Bearer realm="https://a.io/t?x=1,2",service="s",scope="repository:a:pull,push x:y:z"'
    found = parse_challenges(['Basic realm="r"', bearer, "Negotiate"])
    assert [one.scheme for one in found] == ["bearer", "basic"]
    assert (found[0].realm, found[0].service) == ("https://a.io/t?x=1,2", "s")
    assert found[0].scopes == ("repository:a:pull,push", "x:y:z")
