"""The HTTP side: OpenAI's API for completions and chats on an `Engine`, as a Starlette application."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from lutllm.serve.engine import Engine, Event, Job, Likely, QueueFull
from lutllm.serve.requests import Refused, Request, read_request

REASONS = {"end": "stop", "text": "stop", "length": "length", "context": "length"}
LOOK = 0.5  # seconds between looks whether a client is still there
Handler = Callable[[HttpRequest], Awaitable[Response]]


@dataclass(frozen=True)
class Limits:
    """`body` bytes of a request, `seconds` of an answer from the moment it was asked for."""

    body: int = 1 << 20
    seconds: float = 600.0


def application(engine: Engine, name: str, *, key: str = "", limits: Limits | None = None) -> Starlette:
    """The model of `engine`, called `name`; with `key`, for clients that give it."""
    server = _Server(engine, name, key, limits or Limits())
    routes = [
        Route("/health", server.health),
        Route("/v1/models", server.guarded(server.models)),
        Route("/v1/models/{name:path}", server.guarded(server.models)),
        Route("/v1/completions", server.guarded(server.answers(chat=False)), methods=["POST"]),
        Route("/v1/chat/completions", server.guarded(server.answers(chat=True)), methods=["POST"]),
    ]
    refused = {status: _not_here for status in (404, 405)}
    return Starlette(routes=routes, exception_handlers=refused)  # type: ignore[arg-type]


async def _not_here(request: HttpRequest, error: Any) -> Response:
    message = f"expected a path of the API, got {request.method} {request.url.path}"
    return JSONResponse(Refused(message).body, error.status_code)


@dataclass
class _Choice:
    """What of an answer has come."""

    text: str = ""
    likely: list[Likely] = field(default_factory=list)
    reason: str | None = None
    tokens: int = 0


class _Server:
    def __init__(self, engine: Engine, name: str, key: str, limits: Limits) -> None:
        self.engine, self.name, self.key, self.limits = engine, name, key, limits
        self.tokenizer: Any = engine.model.tokenizer
        self.created = int(time.time())

    def guarded(self, handler: Handler) -> Handler:
        """`handler` for clients with the key; what it refuses as an error object."""

        async def guard(request: HttpRequest) -> Response:
            try:
                given = request.headers.get("authorization", "").removeprefix("Bearer ")
                if self.key and not hmac.compare_digest(given.encode(), self.key.encode()):
                    raise Refused(
                        "expected the API key as bearer token, got another", status=401, code="invalid_api_key"
                    )
                return await handler(request)
            except Refused as refused:
                return JSONResponse(refused.body, refused.status)
            except ClientDisconnect:
                return Response(status_code=499)

        return guard

    async def health(self, _request: HttpRequest) -> Response:
        return JSONResponse({"status": "ok"})

    async def models(self, request: HttpRequest) -> Response:
        about = {"id": self.name, "object": "model", "created": self.created, "owned_by": "lutllm"}
        wanted = request.path_params.get("name")
        if wanted is None:
            return JSONResponse({"object": "list", "data": [about]})
        if wanted != self.name:
            message = f"expected model '{self.name}', got '{wanted}'"
            raise Refused(message, "model", status=404, code="model_not_found")
        return JSONResponse(about)

    def answers(self, *, chat: bool) -> Handler:
        async def answer(http: HttpRequest) -> Response:
            body = await self._body(http)
            sizes = dict(context=self.engine.context, vocabulary=self.engine.vocabulary)
            asked = await asyncio.to_thread(read_request, body, self.tokenizer, self.name, **sizes, chat=chat)
            work = _Work(self, asked)
            work.begin()
            if asked.stream:
                return StreamingResponse(work.stream(), media_type="text/event-stream")
            return await work.whole(http)

        return answer

    async def _body(self, request: HttpRequest) -> bytes:
        found = bytearray()
        async for part in request.stream():
            found += part
            if len(found) > self.limits.body:
                raise Refused(f"expected a request of at most {self.limits.body} bytes, got more", status=413)
        return bytes(found)


class _Work:
    """A request under way: its jobs, and their events as they come."""

    def __init__(self, server: _Server, asked: Request) -> None:
        self.server, self.asked = server, asked
        self.events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self.choices = [_Choice() for _ in range(len(asked.prompts) * asked.choices)]
        loop = asyncio.get_running_loop()

        def teller(index: int) -> Callable[[Event], None]:
            def tell(event: Event) -> None:
                with suppress(RuntimeError):  # the loop ends before the worker does
                    loop.call_soon_threadsafe(self.events.put_nowait, (index, event))

            return tell

        self.jobs = [
            Job(
                asked.prompts[i // asked.choices], asked.limit, replace(asked.sampling, seed=asked.sampling.seed + i),
                teller(i), asked.strings, asked.likely, server.limits.seconds,
            )
            for i in range(len(self.choices))
        ]  # fmt: skip
        kind = "chat.completion" if asked.chat else "text_completion"
        self.about: dict[str, Any] = {
            "id": f"{'chatcmpl' if asked.chat else 'cmpl'}-{uuid4().hex}",
            "object": f"{kind}.chunk" if asked.chat and asked.stream else kind,
            "created": int(time.time()),
            "model": server.name,
        }

    def begin(self) -> None:
        try:
            self.server.engine.submit(*self.jobs)
        except QueueFull as full:
            raise Refused(full.message, status=429, code="queue_full") from None

    def cancel(self) -> None:
        for job in self.jobs:
            job.cancelled = True

    async def whole(self, http: HttpRequest) -> Response:
        """The answer at once; nothing more is made for a client that hangs up."""
        try:
            while any(choice.reason is None for choice in self.choices):
                try:
                    index, event = await asyncio.wait_for(self.events.get(), LOOK)
                except TimeoutError:
                    if await http.is_disconnected():
                        raise ClientDisconnect from None
                    continue
                self._take(index, event)
        finally:
            self.cancel()
        choices = [self._choice(i, choice.text, choice.likely, choice.reason) for i, choice in enumerate(self.choices)]
        return JSONResponse(self.about | {"choices": choices, "usage": self._usage()})

    async def stream(self) -> AsyncIterator[str]:
        """Server-sent events, a piece each; an error ends them, as a client hanging up does."""
        extra = {"usage": None} if self.asked.usage else {}
        try:
            if self.asked.chat:
                for i in range(len(self.choices)):
                    delta = {"index": i, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
                    yield _sent(self.about | {"choices": [delta]} | extra)
            while any(choice.reason is None for choice in self.choices):
                index, event = await self.events.get()
                self._take(index, event)
                likely = [event.likely] if event.likely else []
                if event.piece or likely:
                    yield _sent(self.about | {"choices": [self._choice(index, event.piece, likely, None)]} | extra)
                if event.done:
                    last = self._choice(index, "", [], self.choices[index].reason)
                    yield _sent(self.about | {"choices": [last]} | extra)
            if self.asked.usage:
                yield _sent(self.about | {"choices": [], "usage": self._usage()})
            yield "data: [DONE]\n\n"
        except Refused as refused:
            yield _sent(refused.body)
        finally:
            self.cancel()

    def _take(self, index: int, event: Event) -> None:
        if event.error:
            raise Refused(event.error, status=500)
        choice = self.choices[index]
        choice.text += event.piece
        choice.likely += [event.likely] if event.likely else []
        if event.done:
            choice.reason, choice.tokens = REASONS[event.done.stop], len(event.done.tokens)

    def _usage(self) -> dict[str, int]:
        prompt, made = sum(map(len, self.asked.prompts)), sum(choice.tokens for choice in self.choices)
        return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}

    def _choice(self, index: int, text: str, likely: list[Likely], reason: str | None) -> dict[str, Any]:
        found: dict[str, Any] = {"index": index, "finish_reason": reason, "logprobs": None}
        if self.asked.likely is not None:
            found["logprobs"] = self._chat_likely(likely) if self.asked.chat else self._text_likely(likely)
        if not self.asked.chat:
            return found | {"text": text}
        if self.asked.stream:
            return found | {"delta": {"content": text} if reason is None else {}}
        return found | {"message": {"role": "assistant", "content": text, "refusal": None}}

    def _token(self, token: int) -> str:
        return self.server.tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _chat_likely(self, likely: list[Likely]) -> dict[str, Any]:
        def said(token: int, chance: float) -> dict[str, Any]:
            text = self._token(token)
            return {"token": text, "logprob": chance, "bytes": list(text.encode())}

        content = [
            said(one.token, one.log_probability) | {"top_logprobs": [said(*other) for other in one.top]}
            for one in likely
        ]
        return {"content": content, "refusal": None}

    def _text_likely(self, likely: list[Likely]) -> dict[str, Any]:
        texts = [self._token(one.token) for one in likely]
        return {
            "tokens": texts,
            "token_logprobs": [one.log_probability for one in likely],
            "top_logprobs": [
                {self._token(t): chance for t, chance in reversed(one.top)} for one in likely
            ],  # tokens may have one text
            "text_offset": [sum(map(len, texts[:i])) for i in range(len(texts))],
        }


def _sent(values: dict[str, Any]) -> str:
    return f"data: {json.dumps(values)}\n\n"
