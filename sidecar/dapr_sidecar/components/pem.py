"""TLS towards brokers and databases, from the PEM texts of a manifest."""

from __future__ import annotations

import ssl

from dapr_sidecar.components.metadata import SettingsError


def client_context(
    *,
    ca: str = "",
    certificate: str = "",
    key: str = "",
    verify: bool = True,
    names: tuple[str, str, str] = ("caCert", "clientCert", "clientKey"),
) -> ssl.SSLContext:
    """A context that trusts ``ca`` (the system's authorities when empty) and shows the pair.

    ``names`` are the metadata fields of the three texts. Raises ``SettingsError``.
    """
    if bool(certificate) != bool(key):
        present, absent = names[1:] if certificate else names[:0:-1]
        raise SettingsError(f"missing required metadata field '{absent}': '{present}' is given")
    try:
        context = ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError) as error:
        raise SettingsError(
            f"invalid metadata field '{names[0]}': expected certificates in PEM form"
        ) from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        load_pair(context, certificate, key, names[1:])
    return context


def load_pair(context: ssl.SSLContext, certificate: str, key: str, names: tuple[str, str]) -> None:
    """Have a context show a PEM pair; ``names`` are the metadata fields of its texts.

    ``ssl`` takes files only, so a private one exists for a moment. Raises ``SettingsError``.
    """
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(f"{certificate}\n{key}\n")
        file.flush()
        try:
            context.load_cert_chain(file.name, password="")
        except ssl.SSLError as error:
            raise SettingsError(
                f"invalid metadata fields '{names[0]}' and '{names[1]}': {error.reason}"
            ) from error
