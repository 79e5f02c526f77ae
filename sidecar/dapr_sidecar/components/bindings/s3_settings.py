"""Settings of ``bindings.aws.s3``: who we are, and where the bucket is."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass

from dapr_sidecar.components.aws.s3 import S3Bucket, place
from dapr_sidecar.components.aws.settings import AwsSettings
from dapr_sidecar.components.metadata import SettingsError, setting

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings(AwsSettings):
    """Who and where, and these."""

    bucket: str = setting("bucket", help="the bucket, which is there already")
    path_style: bool = setting(
        "forcePathStyle", default=False, help="the bucket in the URL's path, not in its host"
    )
    disable_ssl: bool = setting(
        "disableSSL", default=False, help="an `endpoint` without a scheme is spoken to without TLS"
    )
    insecure_ssl: bool = setting(
        "insecureSSL", default=False, help="take any certificate of the endpoint"
    )
    decode_base64: bool = setting(
        "decodeBase64", default=False, help="what is stored comes in base64"
    )
    encode_base64: bool = setting(
        "encodeBase64", default=False, help="what is read is given in base64"
    )
    storage_class: str = setting(
        "storageClass", default="", help="storage class of new objects, such as STANDARD_IA"
    )
    files_root: str = setting(
        "filesRoot",
        default="",
        help="folder that a request's `filePath` has to be in; none: refused",
    )


def bucket_of(settings: S3Settings) -> S3Bucket:
    """Raises ``SettingsError`` with the field's name."""
    region = settings.checked_region()
    if not _NAME.fullmatch(settings.bucket):
        raise SettingsError(
            f"invalid metadata field 'bucket': '{settings.bucket}': expected a bucket's name: "
            "letters, digits, dots and hyphens"
        )
    try:
        where = place(
            settings.bucket,
            region,
            settings.endpoint,
            path_style=settings.path_style,
            plain=settings.disable_ssl,
        )
        return S3Bucket(settings, region, where, _any() if settings.insecure_ssl else None)
    except ValueError as error:
        raise SettingsError(
            f"invalid metadata field 'endpoint': '{settings.endpoint}': {error}"
        ) from None


def _any() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
