"""The endpoint as a bare ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from stores.embedded.endpoint import HEALTH_PATH, Answer, Endpoint

LARGEST_BODY = 25 * 1024 * 1024  # 25 entries of at most 350 KB, with room for JSON's escapes
_TOO_LARGE: Answer = (413, {"x-amzn-errortype": "ValidationError"}, b'{"Message": "Validation Error: body too large"}')

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


def application(endpoint: Endpoint) -> Application:
    """Serve `endpoint`: latency and broken connections are made here, everything else by the endpoint."""
    dice = endpoint.dice
    latency = dice.faults.latency_ms / 1000

    async def serve(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        body = await _read(receive)
        status, headers, answer = _TOO_LARGE
        if body is not None:
            status, headers, answer = endpoint.handle(
                scope["method"],
                scope["raw_path"].decode("latin-1"),
                scope["query_string"].decode("latin-1"),
                {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
                body,
            )
        path = scope["path"]
        if path not in ("/", HEALTH_PATH):
            if latency:
                await asyncio.sleep(latency)
            if dice.cuts_connection():
                headers, answer = {**headers, "content-length": str(len(answer) + 1)}, answer[: len(answer) // 2]
        raw_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        if "content-length" not in headers:
            raw_headers.append((b"content-length", str(len(answer)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": raw_headers})
        await send({"type": "http.response.body", "body": answer})

    return serve


async def _read(receive: Receive) -> bytes | None:
    """The whole body, or None when it is too large or the client has gone."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    chunks, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > LARGEST_BODY:
            return None
    return b"".join(chunks)
