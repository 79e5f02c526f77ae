"""From what is stored and configured to what issues; missing parts are made first."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime

from dapr_common.observe.logs import get_logger
from dapr_common.security.authority import Life, load_bundle, new_bundle
from dapr_sentry.bundle_store import BundleConflictError, StoredBundle, StoreError
from dapr_sentry.ca import CertificateAuthority
from dapr_sentry.configuration import Configuration
from dapr_sentry.jwt import JwtIssuer, load_issuer, new_key_files
from dapr_sentry.service import Issuing
from dapr_sentry.settings import Settings
from dapr_sentry.surroundings import Surroundings
from dapr_sentry.validators.selection import Selection, select

_LOG = get_logger("dapr.sentry.ca")
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Version:
    """Everything that a change replaces together."""

    stored: StoredBundle
    configuration: Configuration
    selection: Selection
    issuing: Issuing


class Versions:
    """Builds the first version, and another whenever something has changed.

    Raises ``BundleError``, ``ConfigurationError``, ``JwtError``, ``StoreError`` or
    ``ValidatorError`` when one cannot be built.
    """

    def __init__(self, settings: Settings, surroundings: Surroundings) -> None:
        self._settings = settings
        self._surroundings = surroundings
        self._cluster_domain = settings.identity.trust_domain

    async def first(self) -> Version:
        """What there is, made where it is missing. Its validators are not open yet."""
        await self._surroundings.wait()
        self._cluster_domain = await self._surroundings.cluster_domain()
        configuration = await self._surroundings.configuration()
        stored = await self._obtain(configuration)
        return self._built(stored, configuration, self._select(configuration))

    async def after(self, current: Version) -> Version | None:
        """The next version, ready for use; ``None`` when nothing has changed.

        Nothing is made here: files that are away for a moment must not end an authority.
        """
        configuration = await self._surroundings.configuration()
        stored = await self._surroundings.store.load()
        if stored is None:
            raise StoreError("a part of the certificate authority is missing: put all files back")
        if (stored, configuration) == (current.stored, current.configuration):
            return None
        if configuration.token_validators == current.configuration.token_validators:
            return self._built(stored, configuration, current.selection)
        version = self._built(stored, configuration, self._select(configuration))
        await version.selection.open()
        return version

    # --- the store --------------------------------------------------------------------------

    async def _obtain(self, configuration: Configuration) -> StoredBundle:
        store = self._surroundings.store
        for _ in range(_TRIES):
            stored = await store.load()
            complete = self._completed(stored, configuration)
            if complete == stored:
                return complete
            try:
                await store.save(complete)
            except BundleConflictError as error:
                _LOG.info("%s: theirs is used", error)
                continue
            return complete
        raise StoreError("others go on changing the certificate authority: is it stored twice?")

    def _completed(self, stored: StoredBundle | None, configuration: Configuration) -> StoredBundle:
        if stored is None:
            _LOG.warning(
                "No certificate authority is stored, or a part of it is missing: a new root and "
                "issuer are made"
            )
            identity = self._settings.identity
            life = Life.of(datetime.now(UTC), clock_skew=configuration.clock_skew)
            bundle = new_bundle(identity.trust_domain, identity.namespace, life)
            stored = StoredBundle(bundle.anchors_pem, bundle.chain_pem, bundle.key_pem)
        if self._settings.jwt is not None and (stored.jwt_key is None or stored.jwks is None):
            _LOG.warning("No JWT signing key is stored, or its key set is missing: both are made")
            key, jwks = new_key_files(self._settings.jwt)
            stored = dataclasses.replace(stored, jwt_key=key, jwks=jwks)
        return stored

    # --- the parts --------------------------------------------------------------------------

    def _select(self, configuration: Configuration) -> Selection:
        settings, client = self._settings, self._surroundings.client
        return select(
            configuration.token_validators, settings.identity, client, settings.watch_namespace
        )

    def _built(
        self, stored: StoredBundle, configuration: Configuration, selection: Selection
    ) -> Version:
        issuing = Issuing(
            ca=self._authority(stored, configuration),
            validators=selection.validators,
            default=selection.default,
            jwt=self._jwt_issuer(stored, configuration),
        )
        return Version(stored, configuration, selection, issuing)

    def _authority(
        self, stored: StoredBundle, configuration: Configuration
    ) -> CertificateAuthority:
        bundle = load_bundle(
            ca_crt=stored.ca_crt,
            issuer_crt=stored.issuer_crt,
            issuer_key=stored.issuer_key,
            now=datetime.now(UTC),
            names=self._settings.files,
        )
        return CertificateAuthority(
            bundle,
            namespace=self._settings.identity.namespace,
            cluster_domain=self._cluster_domain,
            ttl=configuration.ttl,
            clock_skew=configuration.clock_skew,
        )

    def _jwt_issuer(self, stored: StoredBundle, configuration: Configuration) -> JwtIssuer | None:
        settings = self._settings.jwt
        if settings is None:
            return None
        if stored.jwt_key is None or stored.jwks is None:
            raise StoreError("the JWT signing key or its key set is missing: put both back")
        return load_issuer(
            stored.jwt_key, stored.jwks, settings, clock_skew=configuration.clock_skew
        )
