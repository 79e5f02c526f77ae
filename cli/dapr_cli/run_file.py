"""The multi-app run file: YAML → settings of every application in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dapr_cli import plain_yaml
from dapr_cli.errors import CliError
from dapr_cli.install import Install, locate
from dapr_cli.run_file_values import Values
from dapr_cli.settings import DESTINATIONS, PULL_POLICIES, ContainerSettings, RunSettings
from dapr_common.paths import home_expanded

DEFAULT_NAME = "dapr.yaml"

# Key in the file → (field of RunSettings, type).
_SHARED: dict[str, tuple[str, type]] = {
    "appProtocol": ("app_protocol", str),
    "apiListenAddresses": ("listen_addresses", str),
    "enableProfiling": ("enable_profiling", bool),
    "logLevel": ("log_level", str),
    "appMaxConcurrency": ("app_max_concurrency", int),
    "placementHostAddress": ("placement_host_address", str),
    "schedulerHostAddress": ("scheduler_host_address", str),
    "appSSL": ("app_ssl", bool),
    "maxBodySize": ("max_body_size", str),
    "readBufferSize": ("read_buffer_size", str),
    "enableAppHealthCheck": ("enable_app_health_check", bool),
    "appHealthCheckPath": ("app_health_check_path", str),
    "appHealthProbeInterval": ("app_health_probe_interval", int),
    "appHealthProbeTimeout": ("app_health_probe_timeout", int),
    "appHealthThreshold": ("app_health_threshold", int),
    "enableApiLogging": ("enable_api_logging", bool),
    "enablePythonComponents": ("enable_python_components", bool),
    "daprdLogDestination": ("daprd_log_destination", str),
    "appLogDestination": ("app_log_destination", str),
}
_APP_ONLY: dict[str, tuple[str, type]] = {
    "appChannelAddress": ("app_channel_address", str),
    "appPort": ("app_port", int),
    "daprHTTPPort": ("http_port", int),
    "daprGRPCPort": ("grpc_port", int),
    "daprInternalGRPCPort": ("internal_grpc_port", int),
    "profilePort": ("profile_port", int),
    "metricsPort": ("metrics_port", int),
}
_PATHS = {"configFilePath", "resourcesPath", "resourcesPaths", "runtimePath", "unixDomainSocket"}
_COMMON_KEYS = _SHARED.keys() | _PATHS - {"unixDomainSocket"} | {"env"}
_KUBERNETES: dict[str, type] = {
    "containerImage": str,
    "containerImagePullPolicy": str,
    "createService": bool,
}
_APP_KEYS = (
    _COMMON_KEYS
    | _APP_ONLY.keys()
    | _KUBERNETES.keys()
    | {"appDirPath", "appID", "command", "unixDomainSocket"}
)


@dataclass(frozen=True, slots=True)
class RunFile:
    """A run file, read; ``path`` is absolute, and empty for standard input."""

    path: str
    name: str
    apps: tuple[RunSettings, ...]
    warnings: tuple[str, ...]


def run_file_path(given: str) -> Path:
    """The file meant by ``-f``: a directory stands for its ``dapr.yaml``. Raises ``CliError``."""
    path = home_expanded(given).absolute()
    if path.is_dir():
        path /= DEFAULT_NAME
    if not path.is_file():
        raise CliError(f"the run file {path} does not exist")
    return path.resolve()


def read(given: str, runtime_path: str = "") -> RunFile:
    """The run file meant by ``-f``. Raises ``CliError``."""
    path = run_file_path(given)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CliError(f"the run file {path} cannot be read: it is not valid UTF-8") from error
    except OSError as error:
        raise CliError(f"the run file {path} cannot be read: {error}") from error
    return parse(text, path, runtime_path)


def parse(text: str, path: Path | None, runtime_path: str = "") -> RunFile:
    """Read a run file's text; its paths start at the file. Raises ``CliError``."""
    source = str(path or "standard input")
    try:
        body = plain_yaml.load(text)
    except ValueError as error:
        raise CliError(f"{source} is no valid YAML: {error}") from error
    if not isinstance(body, Mapping):
        raise CliError(f"{source} must hold a mapping with 'version' and 'apps'")
    values = Values(source)
    reader = _Reader(values, path.parent if path else Path.cwd(), runtime_path)
    return RunFile(
        path=str(path or ""),
        name=values.text(body.get("name"), "name"),
        apps=reader.apps(body, plain_yaml.item_lines(text, "apps")),
        warnings=tuple(values.warnings),
    )


class _Reader:
    def __init__(self, values: Values, base: Path, runtime_path: str) -> None:
        self._values = values
        self._base = base
        self._runtime_path = runtime_path

    def apps(self, body: Mapping[str, Any], lines: Sequence[int]) -> tuple[RunSettings, ...]:
        if not self._values.typed(body.get("version") or None, int, "version"):
            raise self._values.error("'version' is required, use 'version: 1'")
        self._values.check_keys(body, {"version", "name", "common", "apps"}, "")
        common = self._values.mapping(body.get("common"), "common")
        self._values.check_keys(common, _COMMON_KEYS, "common: ")
        entries = body.get("apps")
        if not isinstance(entries, list) or not entries:
            raise self._values.error("'apps' must list at least one application")
        # A list that is merged in from elsewhere has no lines here.
        places = [f"{self._values.source}, line {line}" for line in lines]
        places = places or [self._values.source] * len(entries)
        apps = tuple(
            self._app(self._values.mapping(entry, f"apps[{i}]"), common, f"apps[{i}]", place)
            for i, (entry, place) in enumerate(zip(entries, places, strict=True))
        )
        names = [app.app_id for app in apps]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise self._values.error(f"the appID {twice[0]} is used more than once")
        return apps

    def _app(
        self, entry: Mapping[str, Any], common: Mapping[str, Any], where: str, place: str
    ) -> RunSettings:
        if not entry.get("appDirPath"):
            raise self._values.error(f"{where}: 'appDirPath' is required")
        app_dir = self._existing(entry["appDirPath"], self._base, where, "appDirPath")
        if not app_dir.is_dir():
            raise self._values.error(f"{where}: appDirPath {app_dir} is not a directory")
        app_id = self._values.text(entry.get("appID"), f"{where}: appID") or app_dir.name
        where = f"app {app_id}"
        self._values.check_keys(entry, _APP_KEYS, f"{where}: ")
        values: dict[str, Any] = {}
        given: dict[str, object] = {
            key: value for key in _PATHS if (value := entry.get(key) or common.get(key))
        }
        for key, (name, kind) in (_SHARED | _APP_ONLY).items():
            # Zero, false and "" count as not set, as in Dapr.
            value = self._values.typed(entry.get(key), kind, f"{where}: {key}")
            if not value and key in _SHARED:
                value = self._values.typed(common.get(key), kind, f"common: {key}")
            if value:
                values[name] = given[key] = value
        for key in ("daprdLogDestination", "appLogDestination"):
            self._values.one_of(values.get(_SHARED[key][0]), DESTINATIONS, f"{where}: {key}")
        if address := os.environ.get("DAPR_PLACEMENT_HOST_ADDRESS"):
            values.setdefault("placement_host_address", address)
        runtime_path = self._runtime_path_of(entry, common, app_dir, where)
        install = locate(runtime_path)
        return RunSettings(
            app_id=app_id,
            app_dir=app_dir,
            command=self._values.texts(
                entry.get("command"), f"{where}: command", '["python", "app.py"]'
            ),
            env=self._values.text_map(common.get("env"), "common: env")
            | self._values.text_map(entry.get("env"), f"{where}: env"),
            runtime_path=runtime_path,
            unix_domain_socket=self._socket_dir(entry, app_dir),
            config=self._config(entry, common, app_dir, install, where),
            resources=self._resources(entry, common, app_dir, install, where),
            container=self._container(entry, where, place),
            given=given,
            **values,
        )

    def _container(self, entry: Mapping[str, Any], where: str, place: str) -> ContainerSettings:
        image, policy, service = (
            self._values.typed(entry.get(key), kind, f"{where}: {key}")
            for key, kind in _KUBERNETES.items()
        )
        self._values.one_of(policy, PULL_POLICIES, f"{where}: containerImagePullPolicy")
        return ContainerSettings(
            image=str(image or ""),
            pull_policy=str(policy or PULL_POLICIES[0]),
            create_service=bool(service),
            place=place,
        )

    def _runtime_path_of(
        self, entry: Mapping[str, Any], common: Mapping[str, Any], app_dir: Path, where: str
    ) -> str:
        if entry.get("runtimePath"):
            return str(self._existing(entry["runtimePath"], app_dir, where, "runtimePath"))
        if common.get("runtimePath"):
            found = self._existing(common["runtimePath"], self._base, "common", "runtimePath")
            return str(found)
        return self._runtime_path

    def _resources(
        self,
        entry: Mapping[str, Any],
        common: Mapping[str, Any],
        app_dir: Path,
        install: Install,
        where: str,
    ) -> tuple[str, ...]:
        for values, base, place in ((entry, app_dir, where), (common, self._base, "common")):
            if paths := self._paths(values, place):
                found = [self._existing(path, base, place, "resourcesPaths") for path in paths]
                return tuple(map(str, found))
            own = app_dir / ".dapr" / "resources"
            if values is entry and own.is_dir():
                return (str(own),)
        return (str(install.components),)

    def _paths(self, values: Mapping[str, Any], where: str) -> list[Any]:
        paths = values.get("resourcesPaths") or []
        if isinstance(paths, str) or not isinstance(paths, Sequence):
            raise self._values.error(f"{where}: resourcesPaths must be a list")
        if not paths and values.get("resourcesPath"):
            paths = [values["resourcesPath"]]
        return list(paths)

    def _config(
        self,
        entry: Mapping[str, Any],
        common: Mapping[str, Any],
        app_dir: Path,
        install: Install,
        where: str,
    ) -> str:
        key = "configFilePath"
        if entry.get(key):
            return str(self._existing(entry[key], app_dir, where, key))
        if (own := app_dir / ".dapr" / "config.yaml").is_file():
            return str(own)
        if common.get(key):
            return str(self._existing(common[key], self._base, "common", key))
        return str(install.config) if install.config.is_file() else ""

    def _socket_dir(self, entry: Mapping[str, Any], app_dir: Path) -> str:
        given = entry.get("unixDomainSocket")
        return str(self._values.place(given, app_dir, "unixDomainSocket")) if given else ""

    def _existing(self, given: object, base: Path, where: str, key: str) -> Path:
        return self._values.existing(given, base, f"{where}: {key}")
