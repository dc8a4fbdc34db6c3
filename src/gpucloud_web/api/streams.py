"""The AsyncAPI document: every stream and socket, and every event, made from what they are made of.

Messages are the types that handlers send, kinds are the tables that decide them; nothing here is
said twice, so nothing can be forgotten.
Source: AsyncAPI 3.0.0 (https://www.asyncapi.com/docs/reference/specification/v3.0.0), read
2026-11-28.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, get_args, get_type_hints
from urllib.parse import urlsplit

import msgspec
from litestar import Request, Response, get
from litestar.datastructures import State

from gpucloud_core.allocations.pulse import Topic
from gpucloud_core.notices.events import EVENTS, EventKind, Fact, FactField
from gpucloud_core.work.model import TaskEventKind
from gpucloud_web.api.tasks import END, TaskEventBody
from gpucloud_web.pages.live import CHANGED
from gpucloud_web.terminals import frames

Json = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"
_FORMS: Final[Mapping[Fact, Json]] = {
    Fact.TEXT: {"type": "string"},
    Fact.NUMBER: {"type": "integer"},
    Fact.FLAG: {"type": "boolean"},
    Fact.INSTANT: {"type": "string", "format": "date-time"},
    Fact.THINGS: {"type": "object"},
    Fact.TEXTS: {"type": "array", "items": {"type": "string"}},
}
_EVENT_STREAM: Final = "text/event-stream"
_TAKEN: Final[tuple[type[msgspec.Struct], ...]] = get_args(frames.DECODER.type)
_SENT: Final[tuple[type[msgspec.Struct], ...]] = get_args(get_type_hints(frames.text_of)["message"])
_TERMINAL_TYPES: Final = (*_TAKEN, *_SENT)


@get("/asyncapi.json", include_in_schema=False)
async def asyncapi_document(request: Request[object, object, State]) -> Response[object]:
    """Return the AsyncAPI 3 document of every stream, socket and event."""
    public_url: str = request.app.state.public_url
    return Response(described(public_url), media_type="application/json")


def described(public_url: str) -> Json:
    """Return the document for the product as people reach it at ``public_url``."""
    messages = {**_task_messages(), **_live_messages(), **_terminal_messages(), **_events()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "gpucloud",
            "version": "1",
            "description": "What happens, told as it happens: a task's story, what a page should "
            "look at again, a shell, and the events between our own parts.",
        },
        "defaultContentType": "application/json",
        "servers": _servers(public_url),
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "messages": messages,
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "oneTimeToken": {
                    "type": "httpApiKey",
                    "in": "header",
                    "name": "Sec-WebSocket-Protocol",
                    "description": "The token of `mintTerminalToken`, offered beside "
                    f"`{frames.PROTOCOL}`; programs may send it as a bearer token instead.",
                },
            },
        },
    }


def _servers(public_url: str) -> Json:
    parts = urlsplit(public_url)
    is_secret = parts.scheme == "https"
    bearer = {"$ref": "#/components/securitySchemes/bearer"}
    token = {"$ref": "#/components/securitySchemes/oneTimeToken"}
    return {
        "http": {
            "host": parts.netloc,
            "protocol": "https" if is_secret else "http",
            "description": "Server-sent events.",
            "security": [bearer],
        },
        "socket": {
            "host": parts.netloc,
            "protocol": "wss" if is_secret else "ws",
            "description": "Terminals.",
            "security": [token, bearer],
        },
    }


def _channels() -> Json:
    codes = sorted(set(frames.CLOSE_CODES.values()))
    closes = "; ".join(f"{code}: {', '.join(_closed_with(code))}" for code in codes)
    return {
        "taskStory": _channel(
            "/api/v1/tasks/{task_id}/stream",
            "A task's story as server-sent events. Each carries an id: send the last one as "
            f"`Last-Event-ID` to go on after it. `{END}` is the last one.",
            _task_messages(),
            server="http",
            parameters={"task_id": {"description": "The task, `tsk_…`."}},
        ),
        "changes": _channel(
            "/live",
            "What has changed for the tenant, so that an open page looks again. One stream per "
            "browser; a lost one loses nothing, as pages catch up by looking.",
            _live_messages(),
            server="http",
        ),
        "terminal": _channel(
            "/ws/terminal/{allocation_id}",
            f"A shell. Bytes are binary frames; text frames are JSON. Closes: {closes}",
            _terminal_messages(),
            server="socket",
            parameters={"allocation_id": {"description": "The allocation, `alc_…`."}},
            bindings={"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
        ),
        "events": {
            "address": None,
            "description": "Events between our own parts, in order per subject, at least once. "
            "They are kept in the transaction that made them so.",
            "messages": _references(_events(), "#/components/messages/"),
        },
    }


def _channel(address: str, description: str, messages: Json, *, server: str, **more: Json) -> Json:
    return {
        "address": address,
        "description": description,
        "servers": [{"$ref": f"#/servers/{server}"}],
        "messages": _references(messages, "#/components/messages/"),
        **more,
    }


def _references(names: Iterable[str], place: str) -> Json:
    return {name: {"$ref": f"{place}{name}"} for name in names}


def _operations() -> Json:
    heard = [t for t in _terminal_messages() if t in {"input", *(_name(kind) for kind in _TAKEN)}]
    told = [t for t in _terminal_messages() if t not in heard]
    return {
        "tellTask": _operation("send", "taskStory", _task_messages()),
        "tellChanges": _operation("send", "changes", _live_messages()),
        "hearTerminal": _operation("receive", "terminal", heard),
        "tellTerminal": _operation("send", "terminal", told),
        "tellEvents": _operation("send", "events", _events()),
    }


def _operation(action: str, channel: str, messages: Iterable[str]) -> Json:
    place = f"#/channels/{channel}"
    return {
        "action": action,
        "channel": {"$ref": place},
        "messages": [{"$ref": f"{place}/messages/{name}"} for name in messages],
    }


def _task_messages() -> Json:
    told = {
        f"task_{kind.replace('.', '_')}": _message(
            kind, f"The task's story: {kind}.", "TaskEventBody", content=_EVENT_STREAM
        )
        for kind in TaskEventKind
    }
    end = _message(END, "The task is over; nothing follows.", "End", content=_EVENT_STREAM)
    return {**told, f"task_{END}": end}


def _live_messages() -> Json:
    words = "Topics that changed, separated by spaces."
    return {CHANGED: _message(CHANGED, words, "Topics", content=_EVENT_STREAM)}


def _terminal_messages() -> Json:
    return {
        "output": _bytes("What the shell writes."),
        "input": _bytes("What is typed."),
        **{_name(kind): _typed(kind) for kind in _TERMINAL_TYPES},
    }


def _name(kind: type[msgspec.Struct]) -> str:
    return kind.__name__.lower()


def _closed_with(code: int) -> list[str]:
    return [f"`{why}`" for why, each in frames.CLOSE_CODES.items() if each == code]


def _typed(kind: type[msgspec.Struct]) -> Json:
    words = (kind.__doc__ or kind.__name__).strip().splitlines()[0]
    return _message(_name(kind), words, kind.__name__)


def _bytes(summary: str) -> Json:
    raw = {"type": "string", "format": "binary", "maxLength": frames.FRAME_BYTES_MAX}
    return {"summary": summary, "contentType": "application/octet-stream", "payload": raw}


def _events() -> Json:
    return {name: _message(name, kind.meaning, _schema_of(name)) for name, kind in EVENTS.items()}


def _message(name: str, summary: str, schema: str, *, content: str = "") -> Json:
    shown: Json = {
        "name": str(name),
        "summary": summary,
        "payload": {"$ref": _REF.format(name=schema)},
    }
    return {**shown, "contentType": content} if content else shown


def _schemas() -> Json:
    types = (TaskEventBody, *_TERMINAL_TYPES)
    _, known = msgspec.json.schema_components(types, ref_template=_REF)
    known["TaskEventBody"]["properties"]["kind"] = _one_of(TaskEventKind)
    topic = "|".join(Topic)
    return {
        **known,
        "End": {"type": "object", "maxProperties": 0},
        "Topics": {"type": "string", "pattern": f"^({topic})( ({topic}))*$"},
        **{_schema_of(name): _event_schema(kind) for name, kind in EVENTS.items()},
    }


def _one_of(values: Iterable[str]) -> Json:
    return {"type": "string", "enum": [str(value) for value in values]}


def _schema_of(event: str) -> str:
    return f"event_{event}"


def _event_schema(kind: EventKind) -> Json:
    facts = {name: _fact_schema(fact) for name, fact in kind.payload.items()}
    return {
        "type": "object",
        "required": ["kind", "subject", "payload"],
        "properties": {
            "kind": {"const": kind.name},
            "subject": {"type": "string", "description": f"The id of the {kind.subject}."},
            "tenant_id": {"type": ["string", "null"]},
            "payload": {"type": "object", "properties": facts, "additionalProperties": False},
        },
    }


def _fact_schema(fact: FactField) -> Json:
    form = dict(_FORMS[fact.form])
    return {**form, "type": [form["type"], "null"]} if fact.nullable else form
