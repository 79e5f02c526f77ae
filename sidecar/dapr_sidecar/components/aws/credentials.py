"""Where AWS credentials come from, in the order that AWS's own libraries have.

Keys of the manifest; ``AWS_ACCESS_KEY_ID``; a web identity token (IAM roles for service accounts);
the container's endpoint (ECS, EKS Pod Identity); the shared file; the machine's metadata service.
"""

from __future__ import annotations

import asyncio
import configparser
import json
import os
import re
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from dapr_common.paths import home_expanded
from dapr_sidecar.components.aws.settings import AwsIdentity
from dapr_sidecar.components.aws.signing import Credentials, Scope, sign
from dapr_sidecar.components.web import WebAnswer, WebError, WebService

_SECONDS = 5.0
_EARLY_SECONDS = 300.0
"""New credentials are fetched so long before the old ones end."""
_MACHINE = "http://169.254.169.254"
_MACHINE_SECONDS = 1.0
_CONTAINER = "http://169.254.170.2"
_TAG = re.compile(r"<(AccessKeyId|SecretAccessKey|SessionToken|Expiration)>([^<]*)<")

Source = Callable[[], Awaitable[Credentials | None]]


class CredentialsError(Exception):
    """There are no credentials, or a service did not give any; the text says where was looked."""


class CredentialSource:
    """Credentials that are renewed before they end; callers at the same moment share a fetch."""

    def __init__(self, settings: AwsIdentity, region: str) -> None:
        self._settings = settings
        self._region = region
        self._found: Credentials | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> Credentials:
        """Raises ``CredentialsError``."""
        if self._is_fresh(_EARLY_SECONDS):
            assert self._found is not None
            return self._found
        async with self._lock:
            if self._is_fresh(_EARLY_SECONDS):
                assert self._found is not None
                return self._found
            try:
                self._found = await self._fetch()
            except (CredentialsError, WebError, OSError, ValueError, KeyError) as error:
                if self._is_fresh(0):
                    assert self._found is not None
                    return self._found
                raise CredentialsError(f"no AWS credentials: {error}") from error
            return self._found

    def _is_fresh(self, early: float) -> bool:
        found = self._found
        return found is not None and (found.expires is None or found.expires - early > time.time())

    async def _fetch(self) -> Credentials:
        settings = self._settings
        if settings.access_key:
            base: Credentials | None = Credentials(
                settings.access_key, settings.secret_key, settings.session_token
            )
        else:
            base = await self._from_surroundings()
        if base is None:
            raise CredentialsError(
                "neither accessKey and secretKey, nor the environment, a web identity token, the "
                "container, the shared file or the machine have any"
            )
        if settings.assume_role_arn:
            return await self._assume_role(base)
        return base

    async def _from_surroundings(self) -> Credentials | None:
        sources: tuple[Source, ...] = (
            _from_environment,
            self._from_web_identity,
            _from_container,
            _from_file,
            _from_machine,
        )
        for source in sources:
            if (found := await source()) is not None:
                return found
        return None

    # --- the token service ------------------------------------------------------------------

    async def _from_web_identity(self) -> Credentials | None:
        file, role = os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"), os.environ.get("AWS_ROLE_ARN")
        if not (file and role):
            return None
        token = await asyncio.to_thread(Path(file).read_text)
        return await self._ask_token_service(
            {
                "Action": "AssumeRoleWithWebIdentity",
                "RoleArn": role,
                "RoleSessionName": os.environ.get("AWS_ROLE_SESSION_NAME", "dapr"),
                "WebIdentityToken": token.strip(),
            },
            None,
        )

    async def _assume_role(self, base: Credentials) -> Credentials:
        return await self._ask_token_service(
            {
                "Action": "AssumeRole",
                "RoleArn": self._settings.assume_role_arn,
                "RoleSessionName": self._settings.session_name,
            },
            base,
        )

    async def _ask_token_service(
        self, words: Mapping[str, str], base: Credentials | None
    ) -> Credentials:
        url = os.environ.get("AWS_ENDPOINT_URL_STS") or (
            f"https://sts.{self._region}.{domain(self._region)}"
        )
        service = WebService("the AWS token service", url, seconds=_SECONDS)
        body = urllib.parse.urlencode({**words, "Version": "2011-06-15"}).encode()
        headers = {
            "host": service.authority,
            "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        }
        if base is not None:
            scope = Scope(self._region, "sts")
            headers = sign("POST", "/", headers, body, base, scope, datetime.now(UTC))
        headers.pop("host")
        try:
            answer = await service.call("POST", "/", headers, body)
        finally:
            await service.close()
        text = answer.body.decode("utf-8", "replace")
        if answer.status != 200:
            code = re.search(r"<Code>([^<]*)<", text)
            reason = code[1] if code else f"status {answer.status}"
            raise CredentialsError(f"{service.shown} refused {words['Action']}: {reason}")
        return _from_words(dict(_TAG.findall(text)))


def domain(region: str) -> str:
    """The domain of a region's endpoints."""
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


# --- without a signature ------------------------------------------------------------------------


async def _from_environment() -> Credentials | None:
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not (key and secret):
        return None
    return Credentials(key, secret, os.environ.get("AWS_SESSION_TOKEN", ""))


async def _from_container() -> Credentials | None:
    url = os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if path := os.environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        url = _CONTAINER + path
    if not url:
        return None
    token = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    if file := os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        token = (await asyncio.to_thread(Path(file).read_text)).strip()
    parts = urllib.parse.urlsplit(url)
    service = WebService(
        "the container's credentials", f"{parts.scheme}://{parts.netloc}", seconds=_SECONDS
    )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        answer = await service.call("GET", target, {"authorization": token} if token else {})
    finally:
        await service.close()
    return _from_json(answer)


async def _from_file() -> Credentials | None:
    place = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    parser = configparser.RawConfigParser()
    await asyncio.to_thread(lambda: parser.read(home_expanded(place)))
    profile = os.environ.get("AWS_PROFILE", "default")
    if not parser.has_option(profile, "aws_access_key_id"):
        return None
    words = parser[profile]
    return Credentials(
        words["aws_access_key_id"],
        words["aws_secret_access_key"],
        words.get("aws_session_token", ""),
    )


async def _from_machine() -> Credentials | None:
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    url = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _MACHINE
    service = WebService("the machine's metadata", url, seconds=_MACHINE_SECONDS)
    path = "/latest/meta-data/iam/security-credentials/"
    try:
        seconds = {"x-aws-ec2-metadata-token-ttl-seconds": "300"}
        token = await service.call("PUT", "/latest/api/token", seconds)
        headers = {"x-aws-ec2-metadata-token": token.body.decode()}
        role = await service.call("GET", path, headers)
        if role.status != 200:
            return None
        name = role.body.decode().split()[0]
        return _from_json(await service.call("GET", path + name, headers))
    except WebError:
        return None  # not a machine of AWS
    finally:
        await service.close()


def _from_json(answer: WebAnswer) -> Credentials:
    if answer.status != 200:
        raise CredentialsError(f"status {answer.status} instead of credentials")
    words = json.loads(answer.body)
    return _from_words({**words, "SessionToken": words.get("Token", "")})


def _from_words(words: Mapping[str, str]) -> Credentials:
    expires = datetime.fromisoformat(words["Expiration"]).timestamp()
    return Credentials(
        words["AccessKeyId"], words["SecretAccessKey"], words["SessionToken"], expires
    )
