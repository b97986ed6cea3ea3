"""A model and its adapters in this process, without a server or a web framework."""

import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import Field, dataclass, fields
from itertools import count
from types import FrameType
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from rich.console import Console
from rich.progress import Progress

from motet import demo, hub
from motet.client.protocol import (
    ChatRequest,
    CompletionRequest,
    GenerationRequest,
    SamplingFields,
)
from motet.engine import Adapter, AdapterMirror, EngineStats, TokenLogprobs
from motet.engine.config import BatchConfig, ModelConfig, PoolConfig
from motet.engine.core import handle
from motet.engine.inbox import Inbox
from motet.engine.messages import Aborted, Arrived, Stop
from motet.engine.start.build import build
from motet.errors import ConfigError, RequestError
from motet.formats import try_formats
from motet.loading_bars import LoadingBars
from motet.server.openai.convert import convert
from motet.server.text.choices import Choice, Delta, by_request, choices_of, merged
from motet.server.text.format_config import FormatConfig
from motet.server.text.formats import load_formats
from motet.server.text.given_formats import GivenFormats
from motet.server.text.jobs import Job, Prompt, engine_requests
from motet.server.text.prompts import encode_prompts, render_conversation
from motet.server.text.selection import Names
from motet.server.text.served import Served
from motet.server.text.tokenizer import Tokenizer

Message = Mapping[str, object]
"""`role` and `content`, as in requests over HTTP."""

DEFAULT_MAX_TOKENS = 16
"""Of `generate`; `chat` goes on to the end of the context."""


class SamplingParams(SamplingFields, kw_only=True, frozen=True, omit_defaults=True):
    """How to choose tokens: the fields, bounds and defaults of requests over HTTP."""

    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    """Report the chosen tokens' logprobs and as many of the most likely alternatives."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One way the model went on."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: str
    """`stop` or `length`."""
    stop_reason: str | int | None
    """The stop string or stop token id that ended the text."""
    logprobs: tuple[TokenLogprobs, ...]
    """Of each token, if asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one prompt: `n` completions."""

    prompt_token_ids: tuple[int, ...]
    completions: tuple[Completion, ...]

    @property
    def text(self) -> str:
        """Of the first completion."""
        return self.completions[0].text


class LLM:
    """Answers many prompts at once, on any mix of adapters. For one thread.

    The engine, the sampling and the text are those of the server: equal requests with equal seeds
    have equal answers.
    """

    def __init__(
        self,
        model: str | None = None,
        adapters: Mapping[str, str] | None = None,
        *,
        has_progress: bool = True,
        **options: Any,
    ) -> None:
        """Load `model` and `adapters` (name -> PEFT directory); each may be a hub id.

        Without a model: the one that comes with motet, with its voices as adapters too.
        `options` are those of `motet serve` for model, pool, batch and formats of prompts, such as
        `pool_bytes`, `max_model_len` or `chat_template`. Repeatable ones are lists, those of
        NAME=VALUE also mappings. With `has_progress`, bars on stderr if it is a terminal. Raises
        ConfigError for what cannot be served.
        """
        named = tuple((adapters or {}).items())
        formats, *configs = _configs(options)
        wanted = demo.engine_config(model, named, *configs)
        given_formats = GivenFormats.read(formats, dict(wanted.adapters))
        config = hub.fetch(wanted)
        try_formats(given_formats, config)
        bars = LoadingBars()
        self._has_progress = has_progress
        try:
            self._core = build(config, bars.progress if has_progress else _ignore)
        finally:
            bars.close()
        info = self._core.info
        tokenizer = Tokenizer.load(info.model)
        self._mirror = AdapterMirror(info.adapters)
        self._served = Served(
            names=Names(wanted.model, self._mirror),
            info=info,
            tokenizer=tokenizer,
            since_s=int(time.time()),
            formats=load_formats(info, tokenizer, given_formats, self._mirror),
        )
        self._job_ids = count()

    @property
    def stats(self) -> EngineStats:
        """Counts of the engine since it was loaded, as `/metrics` has them."""
        return self._core.scheduler.stats()

    def generate(
        self,
        prompts: str | Sequence[int] | Sequence[str | Sequence[int]],
        sampling: SamplingParams | None = None,
        *,
        adapter: str | Sequence[str | None] | None = None,
    ) -> list[Answer]:
        """Go on from each prompt: a text or token ids, or a list of them.

        `adapter` is one for all prompts or one for each; None is the base model. Raises
        RequestError, before anything runs, for what cannot be served.
        """
        wish = convert({"prompt": prompts}, CompletionRequest)
        encoded = encode_prompts(wish.prompt, self._served)
        adapters = self._adapters(adapter, len(encoded))
        return self._run(encoded, sampling, adapters, DEFAULT_MAX_TOKENS)

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling: SamplingParams | None = None,
        *,
        adapter: str | Sequence[str | None] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        chat_template_kwargs: Mapping[str, object] | None = None,
    ) -> list[Answer]:
        """Say the next message of a conversation, or of each in a list of them.

        The options of the template are those of requests over HTTP. Otherwise as `generate`.
        """
        options = {
            "add_generation_prompt": add_generation_prompt,
            "continue_final_message": continue_final_message,
            "chat_template_kwargs": chat_template_kwargs or {},
        }
        is_one = not messages or isinstance(messages[0], Mapping)
        conversations = [messages] if is_one else messages
        adapters = self._adapters(adapter, len(conversations))
        wishes = (convert({"messages": m, **options}, ChatRequest) for m in conversations)
        rendered = [
            render_conversation(wish, self._served, adapter)
            for wish, adapter in zip(wishes, adapters, strict=True)
        ]
        return self._run(rendered, sampling, adapters, None)

    def _adapters(
        self, adapter: str | Sequence[str | None] | None, num_prompts: int
    ) -> list[Adapter | None]:
        """Of each prompt. Raises RequestError."""
        names = [adapter] * num_prompts if adapter is None or isinstance(adapter, str) else adapter
        if len(names) != num_prompts:
            raise RequestError(
                f"there are {len(names)} adapters for {num_prompts} prompts: give one for each",
                param="adapter",
            )
        return [self._served.adapter_for(GenerationRequest(model=name or "")) for name in names]

    def _run(
        self,
        prompts: Sequence[Prompt],
        sampling: SamplingParams | None,
        adapters: Sequence[Adapter | None],
        default_max_tokens: int | None,
    ) -> list[Answer]:
        checked = convert(msgspec.to_builtins(sampling or SamplingParams()), SamplingParams)
        choices: list[Choice] = []
        for prompt, adapter in zip(prompts, adapters, strict=True):
            job = Job(
                prompts=[prompt],
                fields=checked,
                adapter=adapter,
                max_tokens=checked.max_tokens,
                default_max_tokens=default_max_tokens,
                num_logprobs=checked.logprobs,
            )
            ends = self._served.formats.of(adapter).eos_token_ids
            job_id = f"llm-{next(self._job_ids)}"
            requests = engine_requests(job, job_id, self._served.info, ends)
            choices += choices_of(job, requests, self._served.tokenizer)
        completions = self._complete(choices)
        return [
            Answer(prompt.ids, tuple(completions[first : first + checked.n]))
            for first, prompt in zip(range(0, len(choices), checked.n), prompts, strict=True)
        ]

    def _complete(self, choices: Sequence[Choice]) -> list[Completion]:
        """All choices to their ends, in one stream of steps."""
        pieces: dict[str, list[Delta]] = {choice.request.request_id: [] for choice in choices}
        with self._bar(len(choices)) as advance:
            for choice, delta in self._steps(choices):
                pieces[choice.request.request_id].append(delta)
                advance(len(delta.tokens), choice.is_finished)
        return [_completion(merged(of_choice)) for of_choice in pieces.values()]

    def _steps(self, choices: Sequence[Choice]) -> Iterator[tuple[Choice, Delta]]:
        """Turn the engine until all choices have ended; if it is left early, none goes on."""
        unfinished = {choice.request.request_id: choice for choice in choices}
        try:
            for choice in choices:
                self._core.inbox.put(Arrived(choice.request, time.monotonic()))
            while unfinished:
                with _uninterrupted(self._core.inbox):
                    messages = self._core.take(time.monotonic())
                    report = self._core.turn(messages, time.monotonic())
                self._mirror.update(report.adapters)
                for request_id, outputs in by_request(report.outputs):
                    if request_id in unfinished:  # else it came before the abort took effect
                        choice = unfinished[request_id]
                        delta = choice.read(outputs)
                        if delta.failure is not None:
                            raise delta.failure
                        if choice.is_finished:
                            del unfinished[request_id]
                            self._core.scheduler.handle(Aborted(request_id))  # if it goes on
                        yield choice, delta
        finally:
            for request_id in unfinished:
                self._core.inbox.put(Aborted(request_id))
            handle(self._core.scheduler, self._core.inbox.take(0), time.monotonic())

    @contextmanager
    def _bar(self, num_choices: int) -> Iterator[Any]:
        """A bar of finished choices, with the rate of tokens."""
        console = Console(stderr=True)
        is_shown = self._has_progress and console.is_terminal
        num_tokens, start_s = 0, time.monotonic()
        with Progress(console=console, transient=True, disable=not is_shown) as progress:
            task = progress.add_task("answers", total=num_choices)

            def advance(num_new_tokens: int, is_finished: bool) -> None:
                nonlocal num_tokens
                num_tokens += num_new_tokens
                rate = num_tokens / max(time.monotonic() - start_s, 1e-9)
                progress.update(
                    task, advance=int(is_finished), description=f"answers ({rate:,.0f} tokens/s)"
                )

            yield advance


def _configs(options: Mapping[str, Any]) -> Iterable[Any]:
    """The options, each in the config that has it. Raises ConfigError for one that none has."""
    kinds = (FormatConfig, ModelConfig, PoolConfig, BatchConfig)
    known = {item.name for kind in kinds for item in fields(kind)}
    for name in options:
        if name not in known:
            raise ConfigError(
                f"'{name}' is no option of LLM: choose from {', '.join(sorted(known))}"
            )
    for kind in kinds:
        given = (f for f in fields(kind) if f.name in options)
        yield kind(**{f.name: _value(f, options[f.name]) for f in given})


def _value(field: Field[Any], value: Any) -> Any:
    """As the field has it: repeatable options are tuples of texts there."""
    if not isinstance(field.default, tuple):
        return value
    if isinstance(value, Mapping):
        pairs = ((name, item) for name, items in value.items() for item in _each(items))
        return tuple(f"{name}={item}" for name, item in pairs)
    return tuple(map(str, _each(value)))


def _each(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else (value,)


@contextmanager
def _uninterrupted(inbox: Inbox) -> Iterator[None]:
    """Ctrl-C takes effect at the end: a step that is broken off could not be gone on with.

    Waiting for what comes into the inbox ends at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupts: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        inbox.put(Stop())

    usual = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if interrupts:
        raise KeyboardInterrupt


def _completion(whole: Delta) -> Completion:
    assert whole.finish_reason is not None
    return Completion(
        text=whole.text,
        token_ids=tuple(token.token_id for token in whole.tokens),
        finish_reason=whole.finish_reason.value,
        stop_reason=whole.stop_reason,
        logprobs=tuple(
            TokenLogprobs(token.logprob, token.top)
            for token in whole.tokens
            if token.logprob is not None
        ),
    )


def _ignore(stage: str, done: int, total: int) -> None:
    pass
