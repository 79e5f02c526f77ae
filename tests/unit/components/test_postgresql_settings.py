"""Connection strings of PostgreSQL components, in both notations."""

from __future__ import annotations

import urllib.parse

import pytest

from dapr_sidecar.components.metadata import SettingsError, decode_settings
from dapr_sidecar.components.postgresql.settings import (
    ConnectionInfo,
    PostgresSettings,
    connection_info,
)


def info(**properties: str) -> ConnectionInfo:
    return connection_info(decode_settings(PostgresSettings, properties))


def words(found: ConnectionInfo) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(found.url).query))


@pytest.mark.parametrize(
    "text",
    [
        "host=db user=me password='a b\\'c' port=5433 dbname=mine connect_timeout=10",
        "  host = db user=me password=a\\ b\\'c port=5433  dbname=mine connect_timeout=10 ",
        "postgres://me:a%20b'c@db:5433/mine?connect_timeout=10",
        "postgresql://me@db:5433/mine?connect_timeout=10&password=a%20b'c",
    ],
)
def test_notations(text: str) -> None:
    found = info(connectionString=text)
    assert words(found) == {
        "host": "db",
        "user": "me",
        "password": "a b'c",
        "port": "5433",
        "dbname": "mine",
    }
    assert (found.shown, found.connect_timeout) == ("db:5433", 10.0)


def test_several_hosts() -> None:
    found = words(info(connectionString="postgresql://a,b:5433,[::1]:5434/d?sslmode=require"))
    assert found == {
        "host": "a,b,::1",
        "port": "5432,5433,5434",
        "dbname": "d",
        "sslmode": "require",
    }


def test_single_fields_win() -> None:
    found = info(
        connectionString="host=a port=1 user=u sslmode=verify-full",
        host="b",
        port="2",
        database="d",
        user="v",
        password="p",
        sslRootCert="/ca.pem",
    )
    assert words(found) == {
        "host": "b",
        "port": "2",
        "dbname": "d",
        "user": "v",
        "password": "p",
        "sslmode": "verify-full",
        "sslrootcert": "/ca.pem",
    }
    assert words(info(hostaddr="10.0.0.1"))["host"] == "10.0.0.1"


def test_words_of_the_go_library() -> None:
    found = info(
        connectionString="host=a pool_max_conns=7 pool_max_conn_idle_time=5m pool_min_conns=1 "
        "statement_cache_capacity=9 default_query_exec_mode=exec application_name=x"
    )
    assert words(found) == {"host": "a", "application_name": "x"}
    assert (found.max_connections, found.max_idle_seconds) == (7, 300.0)
    assert info(connectionString="host=a pool_max_conns=7", maxConns="9").max_connections == 9


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({}, "missing required metadata field 'connectionString'"),
        ({"connectionString": "user=me"}, "missing required metadata field 'connectionString'"),
        ({"connectionString": "host=a s3cret"}, "'connectionString': key=value is expected at"),
        ({"connectionString": "host=a password='s3cret"}, "'connectionString': key=value"),
        ({"connectionString": "postgres://u:s3cret@[::1/d"}, "'connectionString': it is no URL"),
        ({"connectionString": "host=a connect_timeout=x"}, "connect_timeout must be a whole"),
        ({"connectionString": "host=a", "maxConns": "-1"}, "'maxConns': '-1'"),
        ({"connectionString": "host=a", "maxConns": "many"}, "'maxConns': 'many'"),
        ({"connectionString": "host=a", "timeout": "soon"}, "'timeout': 'soon'"),
        ({"connectionString": "host=a", "queryExecMode": "fast"}, "'queryExecMode': 'fast'"),
        (
            {"connectionString": "host=a", "useAzureAD": "true", "useAWSIAM": "true"},
            "'useAWSIAM': 'useAzureAD' is on, too",
        ),
    ],
)
def test_what_is_wrong_is_named(properties: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=text) as caught:
        info(**properties)
    assert "s3cret" not in str(caught.value)


def test_the_password_is_not_shown() -> None:
    settings = decode_settings(
        PostgresSettings, {"connectionString": "host=a password=s3cret", "password": "s3cret"}
    )
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in connection_info(settings).shown
