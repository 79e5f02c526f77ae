"""The flag surface of ``dapr-sentry``: names, types, defaults and meanings of Dapr 1.18."""

from __future__ import annotations

from datetime import timedelta

from dapr_common.flags import Flag
from dapr_common.program import KUBECONFIG_FLAG, SERVICE_FLAGS

_OWN: tuple[Flag, ...] = (
    Flag("mode", "string", "standalone", "standalone or kubernetes"),
    Flag(
        "config",
        "string",
        "daprsystem",
        "Configuration file (standalone; it must exist) or Configuration name (kubernetes)",
    ),
    Flag("trust-domain", "string", "localhost", "trust domain of the control plane"),
    Flag("port", "int", 50001, "port of the gRPC server"),
    Flag("listen-address", "string", "", "address of the gRPC server; empty is all"),
    Flag(
        "issuer-credentials",
        "string",
        "/var/run/secrets/dapr.io/credentials",
        "directory of the certificate authority's files",
    ),
    Flag("issuer-ca-filename", "string", "ca.crt", "trust anchors; may be an absolute path"),
    Flag(
        "issuer-certificate-filename",
        "string",
        "issuer.crt",
        "issuer certificate and its chain; may be an absolute path",
    ),
    Flag("issuer-key-filename", "string", "issuer.key", "issuer key; may be an absolute path"),
    Flag("jwt-enabled", "bool", False, "issue JWTs together with certificates"),
    Flag("jwt-key-filename", "string", "jwt.key", "JWT signing key; only absolute paths count"),
    Flag("jwks-filename", "string", "jwks.json", "JSON Web Key Set; only absolute paths count"),
    Flag("jwt-issuer", "string", "", "iss claim of JWTs; needs --jwt-enabled"),
    Flag(
        "jwt-signing-algorithm",
        "string",
        "RS256",
        "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA; must fit the key",
    ),
    Flag("jwt-key-id", "string", "", "kid header of JWTs; empty is the key's thumbprint"),
    Flag("jwt-ttl", "duration", timedelta(hours=24), "lifetime of JWTs"),
    Flag("oidc-enabled", "bool", False, "serve OIDC discovery; needs --jwt-enabled"),
    Flag("oidc-server-listen-port", "int", 9080, "port of the OIDC server"),
    Flag("oidc-server-listen-address", "string", "localhost", "address of the OIDC server"),
    Flag("oidc-server-tls-enabled", "bool", True, "serve OIDC discovery over TLS"),
    Flag("oidc-server-tls-cert-file", "string", "", "certificate of the OIDC server"),
    Flag("oidc-server-tls-key-file", "string", "", "key of the OIDC server"),
    Flag("oidc-jwks-uri", "string", "", "jwks_uri in the discovery document instead of our own"),
    Flag("oidc-path-prefix", "string", "", "put before the paths of the OIDC server"),
    Flag("oidc-allowed-hosts", "stringSlice", [], "host names the OIDC server answers for"),
    KUBECONFIG_FLAG,
)

FLAGS: tuple[Flag, ...] = tuple(sorted((*_OWN, *SERVICE_FLAGS), key=lambda flag: flag.name))
