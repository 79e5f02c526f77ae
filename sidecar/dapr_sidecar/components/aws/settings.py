"""Who we are towards AWS, and where: what all AWS components take."""

from __future__ import annotations

import os
from dataclasses import dataclass

from dapr_sidecar.components.metadata import SettingsError, setting


# Without slots: a class can then inherit from this one and another.
@dataclass(frozen=True, kw_only=True)
class AwsIdentity:
    """Names as in Dapr's AWS components. Without keys, what the surroundings offer is taken."""

    region: str = setting(
        "region", aliases=("awsRegion",), default="", help="region; AWS_REGION when empty"
    )
    access_key: str = setting(
        "accessKey",
        aliases=("awsAccessKey",),
        default="",
        secret=True,
        help="id of the access key",
    )
    secret_key: str = setting(
        "secretKey",
        aliases=("awsSecretKey",),
        default="",
        secret=True,
        help="the access key itself",
    )
    session_token: str = setting(
        "sessionToken", default="", secret=True, help="token of temporary keys"
    )
    assume_role_arn: str = setting(
        "assumeRoleArn", default="", help="role to take on with those keys"
    )
    session_name: str = setting(
        "sessionName", default="DaprDefaultSession", help="name of the session in that role"
    )
    trust_anchor_arn: str = setting(
        "trustAnchorArn", default="", help="IAM Roles Anywhere: not available yet"
    )
    trust_profile_arn: str = setting(
        "trustProfileArn", default="", help="IAM Roles Anywhere: not available yet"
    )

    def checked_region(self) -> str:
        """The region. Raises ``SettingsError`` when there is none, or keys are incomplete."""
        for name, value in (
            ("trustAnchorArn", self.trust_anchor_arn),
            ("trustProfileArn", self.trust_profile_arn),
        ):
            if value:
                raise SettingsError(
                    f"invalid metadata field '{name}': IAM Roles Anywhere is not available yet: "
                    "use access keys, or what the machine's role offers"
                )
        if bool(self.access_key) != bool(self.secret_key):
            absent = "secretKey" if self.access_key else "accessKey"
            raise SettingsError(f"missing required metadata field '{absent}'")
        region = self.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if not region:
            raise SettingsError(
                "missing required metadata field 'region': expected one such as eu-west-1, "
                "here or in AWS_REGION"
            )
        return region


@dataclass(frozen=True, kw_only=True)
class AwsSettings(AwsIdentity):
    """The same for a service that is called by HTTPS."""

    endpoint: str = setting(
        "endpoint", default="", help="URL of the service, for emulators and private endpoints"
    )
