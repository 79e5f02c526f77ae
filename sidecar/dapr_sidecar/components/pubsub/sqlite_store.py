"""What ``pubsub.sqlite`` keeps in its file, as plain functions on an open connection.

A message is stored once. A group has a position (everything up to it was handed out at least
once) and one row for each delivery that is not finished. A row's ``due`` is the end of the lease
of whoever handles the message, or the time of the next attempt. Times are milliseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from dapr_sidecar.components.sqlite.connection import transaction

SCHEMA = """
CREATE TABLE IF NOT EXISTS dapr_messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  topic TEXT NOT NULL,
  data BLOB NOT NULL,
  metadata TEXT,
  published INTEGER NOT NULL,
  expires INTEGER
);
CREATE INDEX IF NOT EXISTS dapr_messages_topic ON dapr_messages (topic, id);
CREATE INDEX IF NOT EXISTS dapr_messages_published ON dapr_messages (published);
CREATE TABLE IF NOT EXISTS dapr_groups (
  topic TEXT NOT NULL,
  name TEXT NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (topic, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dapr_deliveries (
  topic TEXT NOT NULL,
  name TEXT NOT NULL,
  message INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  due INTEGER NOT NULL,
  owner TEXT NOT NULL,
  PRIMARY KEY (topic, name, message)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS dapr_deliveries_due ON dapr_deliveries (topic, name, due);
CREATE INDEX IF NOT EXISTS dapr_deliveries_message ON dapr_deliveries (message);
"""
CLEAN_AT_ONCE = 1000


class NewMessage(NamedTuple):
    """A message to store."""

    topic: str
    data: bytes
    metadata: str | None
    expires: int | None


class Delivery(NamedTuple):
    """A message handed out to a consumer; ``attempts`` counts this one."""

    message: int
    data: bytes
    metadata: str | None
    attempts: int


class Group(NamedTuple):
    """One consumer group of one topic."""

    topic: str
    name: str


class Fetched(NamedTuple):
    """Deliveries, and when the next one that is not ready yet will be."""

    deliveries: list[Delivery]
    next_due: int | None


def publish(connection: sqlite3.Connection, messages: Sequence[NewMessage], now: int) -> None:
    """Store messages, in order."""
    with transaction(connection) as cursor:
        cursor.executemany(
            "INSERT INTO dapr_messages (topic, data, metadata, published, expires)"
            " VALUES (?, ?, ?, ?, ?)",
            [(m.topic, m.data, m.metadata, now, m.expires) for m in messages],
        )


def create(connection: sqlite3.Connection) -> None:
    """Make the tables."""
    connection.executescript(SCHEMA)


def ensure_group(connection: sqlite3.Connection, group: Group) -> None:
    """Create a group at the oldest message that is still there."""
    with transaction(connection) as cursor:
        cursor.execute("INSERT OR IGNORE INTO dapr_groups VALUES (?, ?, 0)", group)


def fetch(
    connection: sqlite3.Connection, group: Group, owner: str, limit: int, now: int, lease: int
) -> Fetched:
    """Take deliveries that are due and then new messages, and lease them until ``now + lease``."""
    if not _has_work(connection, group, now):
        return Fetched([], _next_due(connection, group))
    with transaction(connection) as cursor:
        taken = _take_due(cursor, group, owner, limit, now, lease)
        if len(taken) < limit:
            taken += _take_new(cursor, group, owner, limit - len(taken), now, lease)
    return Fetched(taken, _next_due(connection, group))


def _has_work(connection: sqlite3.Connection, group: Group, now: int) -> bool:
    row = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM dapr_deliveries WHERE topic = ? AND name = ? AND due <= ?)"
        " OR EXISTS (SELECT 1 FROM dapr_messages WHERE topic = ? AND id >"
        " (SELECT position FROM dapr_groups WHERE topic = ? AND name = ?))",
        (*group, now, group.topic, *group),
    ).fetchone()
    return bool(row[0])


def _next_due(connection: sqlite3.Connection, group: Group) -> int | None:
    row = connection.execute(
        "SELECT min(due) FROM dapr_deliveries WHERE topic = ? AND name = ?", group
    ).fetchone()
    due: int | None = row[0]
    return due


def _take_due(
    cursor: sqlite3.Connection, group: Group, owner: str, limit: int, now: int, lease: int
) -> list[Delivery]:
    rows = cursor.execute(
        "SELECT d.message, m.data, m.metadata, d.attempts + 1, m.expires"
        " FROM dapr_deliveries d LEFT JOIN dapr_messages m ON m.id = d.message"
        " WHERE d.topic = ? AND d.name = ? AND d.due <= ? ORDER BY d.message LIMIT ?",
        (*group, now, limit),
    ).fetchall()
    taken = []
    for message, data, metadata, attempts, expires in rows:
        if data is None or (expires is not None and expires < now):
            _finish(cursor, group, [message])
            continue
        cursor.execute(
            "UPDATE dapr_deliveries SET attempts = ?, due = ?, owner = ?"
            " WHERE topic = ? AND name = ? AND message = ?",
            (attempts, now + lease, owner, *group, message),
        )
        taken.append(Delivery(message, data, metadata, attempts))
    return taken


def _take_new(
    cursor: sqlite3.Connection, group: Group, owner: str, limit: int, now: int, lease: int
) -> list[Delivery]:
    rows = cursor.execute(
        "SELECT id, data, metadata, expires FROM dapr_messages WHERE topic = ? AND id >"
        " (SELECT position FROM dapr_groups WHERE topic = ? AND name = ?) ORDER BY id LIMIT ?",
        (group.topic, *group, limit),
    ).fetchall()
    if not rows:
        return []
    cursor.execute(
        "UPDATE dapr_groups SET position = ? WHERE topic = ? AND name = ?", (rows[-1][0], *group)
    )
    taken = [
        Delivery(message, data, metadata, 1)
        for message, data, metadata, expires in rows
        if expires is None or expires >= now
    ]
    cursor.executemany(
        "INSERT INTO dapr_deliveries VALUES (?, ?, ?, 1, ?, ?)",
        [(*group, delivery.message, now + lease, owner) for delivery in taken],
    )
    return taken


def acknowledge(connection: sqlite3.Connection, group: Group, messages: Sequence[int]) -> None:
    """The messages are done with, whoever holds them by now."""
    with transaction(connection) as cursor:
        _finish(cursor, group, messages)


def _finish(cursor: sqlite3.Connection, group: Group, messages: Sequence[int]) -> None:
    cursor.executemany(
        "DELETE FROM dapr_deliveries WHERE topic = ? AND name = ? AND message = ?",
        [(*group, message) for message in messages],
    )


def renew(
    connection: sqlite3.Connection, group: Group, owner: str, messages: Sequence[int], due: int
) -> None:
    """Lease messages that ``owner`` still holds until ``due``."""
    with transaction(connection) as cursor:
        cursor.executemany(
            "UPDATE dapr_deliveries SET due = ?"
            " WHERE topic = ? AND name = ? AND message = ? AND owner = ?",
            [(due, *group, message, owner) for message in messages],
        )


def postpone(
    connection: sqlite3.Connection, group: Group, owner: str, dues: Sequence[tuple[int, int]]
) -> None:
    """Give back messages (message, due) that ``owner`` still holds, for a later attempt."""
    with transaction(connection) as cursor:
        cursor.executemany(
            "UPDATE dapr_deliveries SET due = ?, owner = ''"
            " WHERE topic = ? AND name = ? AND message = ? AND owner = ?",
            [(due, *group, message, owner) for message, due in dues],
        )


def release(connection: sqlite3.Connection, group: Group, owner: str, now: int) -> int:
    """Give back all that ``owner`` holds, for an attempt at once; returns how many."""
    with transaction(connection) as cursor:
        return cursor.execute(
            "UPDATE dapr_deliveries SET due = ?, owner = ''"
            " WHERE topic = ? AND name = ? AND owner = ?",
            (now, *group, owner),
        ).rowcount


def clean(connection: sqlite3.Connection, now: int, max_age: int) -> int:
    """Delete what nobody needs: too old, expired, or finished by every group of its topic."""
    with transaction(connection) as cursor:
        deleted = cursor.execute(
            "DELETE FROM dapr_messages WHERE id IN ("
            " SELECT id FROM dapr_messages WHERE published < ? OR expires < ? LIMIT ?)",
            (now - max_age, now, CLEAN_AT_ONCE),
        ).rowcount
        topics = cursor.execute("SELECT topic, min(position) FROM dapr_groups GROUP BY topic")
        for topic, floor in topics.fetchall():
            deleted += cursor.execute(
                "DELETE FROM dapr_messages WHERE id IN ("
                " SELECT id FROM dapr_messages m WHERE topic = ? AND id <= ? AND NOT EXISTS"
                " (SELECT 1 FROM dapr_deliveries d WHERE d.message = m.id) LIMIT ?)",
                (topic, floor, CLEAN_AT_ONCE),
            ).rowcount
    return deleted
