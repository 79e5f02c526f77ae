"""``kind: MCPServer``."""

from __future__ import annotations

from dataclasses import replace

from dapr_common.kube.schema import parts
from dapr_common.kube.schema.fields import (
    Field,
    Rule,
    boolean,
    mapping,
    record,
    required,
    sequence,
    text,
    texts,
)
from dapr_common.kube.schema.resource import AGE, SCOPES, Column, CustomResource, Version

_OAUTH2 = record(
    "Get a token as an OAuth 2 client.",
    issuer=required(text("URL of the token issuer.", min_length=1)),
    clientID=text("Id of the client."),
    secretKeyRef=parts.SECRET_KEY_REF,
    scopes=texts("Scopes asked for."),
    audience=text("Audience asked for."),
)

_SPIFFE = record(
    "Show the sidecar's own identity.",
    jwt=record(
        "As a JSON Web Token.",
        header=required(text("Header the token is sent in.", min_length=1)),
        headerValuePrefix=text("What stands before the token, such as Bearer and a space."),
        audience=required(text("Audience of the token.", min_length=1)),
    ),
)

_AUTH = record(
    "How the sidecar logs in.",
    secretStore=text("Secret store component; Kubernetes' own secrets when empty."),
    oauth2=_OAUTH2,
    spiffe=_SPIFFE,
)


def _remote(description: str) -> Field:
    return record(
        description,
        url=required(text("URL of the server.", min_length=1)),
        protocolVersion=text("Version of MCP that is spoken."),
        timeout=text("How long a call may take, as a Go duration."),
        headers=sequence("Headers added to every request.", parts.name_value("One header.")),
        auth=_AUTH,
    )


_STDIO = record(
    "A program that is started and spoken to over its standard input and output.",
    command=required(text("The program.", min_length=1)),
    args=texts("Its arguments."),
    env=sequence("Its environment.", parts.name_value("One variable.")),
)

_ENDPOINT = record(
    "How the server is reached; exactly one way.",
    streamableHTTP=_remote("Over streamable HTTP."),
    sse=_remote("Over HTTP with server-sent events."),
    stdio=_STDIO,
)

_ONE_TRANSPORT = Rule(
    "(has(self.streamableHTTP) ? 1 : 0) + (has(self.sse) ? 1 : 0) + (has(self.stdio) ? 1 : 0) == 1",
    "exactly one of streamableHTTP, sse, or stdio must be set",
)

_WORKFLOW = record(
    "The workflow that is run.",
    workflowName=required(text("Its name.", min_length=1)),
    appID=text("App that has it; this one when empty."),
)
_MUTATE = boolean("Whether what the workflow returns takes the place of what it was given.")


def _hook(description: str, **more: Field) -> Field:
    item = record("One workflow.", workflow=required(_WORKFLOW), **more)
    return sequence(description, item)


_MIDDLEWARE = record(
    "Workflows that are run around calls, in order.",
    beforeListTools=_hook("Before tools are listed."),
    afterListTools=_hook("After tools were listed.", mutate=_MUTATE),
    beforeCallTool=_hook("Before a tool is called.", mutate=_MUTATE),
    afterCallTool=_hook("After a tool was called.", mutate=_MUTATE),
)

_CATALOG = record(
    "What people should know about the server.",
    displayName=text("Its name for people."),
    description=text("What it is for."),
    owner=record(
        "Who looks after it.",
        team=text("The team."),
        contact=text("How to reach them."),
    ),
    tags=texts("Words to find it by."),
    links=mapping("URLs by what they lead to.", text()),
)

_SPEC = record(
    "Where the server is and how it is used.",
    endpoint=required(replace(_ENDPOINT, rules=(_ONE_TRANSPORT,))),
    middleware=_MIDDLEWARE,
    catalog=_CATALOG,
    ignoreErrors=boolean("Go on without the server when it cannot be reached."),
)

MCP_SERVER = CustomResource(
    kind="MCPServer",
    plural="mcpservers",
    versions=(
        Version(
            "v1alpha1",
            "A server of tools for language models (Model Context Protocol).",
            {"metadata": parts.METADATA, "spec": _SPEC, "scopes": parts.SCOPES},
            (
                Column("Display Name", ".spec.catalog.displayName", "Its name for people."),
                Column("Team", ".spec.catalog.owner.team", "Who looks after it.", is_wide=True),
                SCOPES,
                AGE,
            ),
        ),
    ),
)
