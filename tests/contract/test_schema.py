"""Requests generated from motet's own OpenAPI document, good and bad ones, on every route."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import pytest
import schemathesis
from hypothesis import Phase, settings
from schemathesis.engine import events, from_schema

from motet.client import protocol
from motet.client.protocol import ErrorResponse
from tests.cli.process import Server
from tests.contract.canary import Canary

Case = schemathesis.Case[Any]

NUM_EXAMPLES = [80, pytest.param(250, marks=pytest.mark.soak)]
"""Good ones of each operation, at most, and as many bad ones."""
CASES_PER_CANARY = 100

NAMES_WHAT_IS_THERE = ("lora_adapter", "pin", "/{agent}", "/warm")
"""In paths of operations that are served only to who names an adapter, an agent or a directory that
is there, or one of two fields: their own tests do."""

MODEST_SHARE = 0.8
MAX_MODEST_FIELDS = 3

CONFIG: dict[str, Any] = {
    "seed": 1,
    "request-timeout": 60,
    "max-stream-events": 100_000,
    "generation": {"deterministic": True, "database": "none"},
    "phases": {"stateful": {"enabled": False}},  # no answer names what another request takes
    # A schema cannot say what contradicts itself, what the model lacks and what does not fit.
    # Of data that was bad it only knows that it was to be bad: test_body.py knows what is.
    "checks": {
        "positive_data_acceptance": {"enabled": False},
        "negative_data_rejection": {"enabled": False},
    },
}


class Fuzzer:
    """Sends every case that schemathesis finds in the document, and looks at the answers."""

    def __init__(self, url: str, num_examples: int) -> None:
        self.num_examples = num_examples
        self.document: dict[str, Any] = httpx.get(f"{url}/openapi.json").json()
        self.statuses: dict[str, Counter[int]] = {}
        """Operation -> status -> how often."""
        self.num_events = 0
        self.failures: list[str] = []
        self.canary = Canary(url)
        self._url = url

    @property
    def min_served(self) -> int:
        """Cases that are answered on each route with a body: refusals alone test little."""
        return self.num_examples // 16

    @property
    def num_cases(self) -> int:
        return sum(counts.total() for counts in self.statuses.values())

    def run(self) -> None:
        generation = CONFIG["generation"] | {"max-examples": self.num_examples}
        config = schemathesis.Config.from_dict(CONFIG | {"generation": generation})
        schema = schemathesis.openapi.from_dict(self.document, config=config)
        schema.config.update(base_url=self._url)
        schema.hooks.register_hook_with_name(self._make_modest, "map_case")
        schema.hooks.register_hook_with_name(self._hear, "after_call")
        with _plain_generation():
            for event in from_schema(schema).execute():
                assert not isinstance(event, events.NonFatalError | events.FatalError), event
                if isinstance(event, events.ScenarioFinished):
                    checks = [check for some in event.recorder.checks.values() for check in some]
                    self.failures += [str(c.failure_info.failure) for c in checks if c.failure_info]

    def _make_modest(self, context: schemathesis.HookContext, case: Case) -> Case:
        """Most good bodies keep a few fields and get few tokens: else hardly any would be served,
        and those for long.
        """
        if case.meta and case.meta.generation.mode.is_positive and isinstance(case.body, dict):
            dice = random.Random(repr(case.body))
            if dice.random() < MODEST_SHARE:
                schema = self._body_schema(case)
                num_kept = min(len(case.body), dice.randint(0, MAX_MODEST_FIELDS))
                kept = {*dice.sample(sorted(case.body), num_kept), *schema["required"]}
                modest: dict[str, Any] = {
                    "model": dice.choice(["tiny", "tuned"]),
                    "max_tokens": dice.randint(1, 4),
                    "stream": dice.random() < 0.5,
                }
                case.body = {name: value for name, value in case.body.items() if name in kept}
                case.body |= {name: modest[name] for name in modest if name in schema["properties"]}
        return case

    def _body_schema(self, case: Case) -> dict[str, Any]:
        content = self._operation(case)["requestBody"]["content"]["application/json"]
        schema: dict[str, Any] = self.document["components"]["schemas"][_name(content["schema"])]
        return schema

    def _operation(self, case: Case) -> dict[str, Any]:
        operation: dict[str, Any] = self.document["paths"][case.path][case.method.lower()]
        return operation

    def _hear(
        self,
        context: schemathesis.HookContext,
        case: Case,
        response: schemathesis.Response,
    ) -> None:
        self.statuses.setdefault(case.operation.label, Counter())[response.status_code] += 1
        try:
            if response.status_code != 200:
                check_shape(response.content, ErrorResponse)
            elif response.headers["content-type"][0].startswith("text/event-stream"):
                self._check_events(case, response.content)
        except (AssertionError, msgspec.DecodeError) as error:
            self.failures.append(f"{error!r} {response.content[:200]!r} {case.as_curl_command()}")
        if self.num_cases % CASES_PER_CANARY == 0:
            self.canary.check()

    def _check_events(self, case: Case, content: bytes) -> None:
        """Each is a chunk, then comes [DONE]; or the last one is an error."""
        answer = self._operation(case)["responses"]["200"]["content"]["text/event-stream"]
        [said, _] = answer["itemSchema"]["properties"]["data"]["anyOf"]
        chunk = getattr(protocol, _name(said["contentSchema"]["anyOf"][0]))
        *chunks, last, rest = content.split(b"\n\n")
        assert rest == b""
        for event in chunks:
            check_shape(_data(event), chunk)
        if last != b"data: [DONE]":
            check_shape(_data(last), ErrorResponse)
        self.num_events += len(chunks)


@contextmanager
def _plain_generation() -> Iterator[None]:
    """Nothing that hypothesis does after a case: its search for targets may take minutes."""
    before = settings.get_current_profile_name()
    settings.register_profile("contract", phases=[Phase.explicit, Phase.generate])
    settings.load_profile("contract")
    try:
        yield
    finally:
        settings.load_profile(before)


def check_shape(content: bytes, kind: type) -> None:
    """Fails unless `content` is exactly what a value of `kind` encodes to."""
    assert msgspec.json.encode(msgspec.json.decode(content, type=kind)) == content


def _data(event: bytes) -> bytes:
    assert event.startswith(b"data: ")
    return event.removeprefix(b"data: ")


def _name(reference: dict[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]


@pytest.fixture(scope="module", params=NUM_EXAMPLES)
def fuzzer(server: Server, request: pytest.FixtureRequest) -> Fuzzer:
    """After its run."""
    fuzzer = Fuzzer(server.url, request.param)
    fuzzer.run()
    return fuzzer


def test_every_answer_is_as_documented(fuzzer: Fuzzer) -> None:
    assert not fuzzer.failures, "\n\n".join(fuzzer.failures[:10])


def test_no_request_made_the_server_fail(fuzzer: Fuzzer) -> None:
    seen = {status for counts in fuzzer.statuses.values() for status in counts}
    assert not {status for status in seen if status >= 500} - {503}


def test_the_canary_was_asked_in_between_and_never_changed(fuzzer: Fuzzer) -> None:
    assert fuzzer.num_cases >= 4 * fuzzer.num_examples
    assert fuzzer.canary.num_checks >= fuzzer.num_cases // CASES_PER_CANARY


def test_every_operation_was_served_and_not_only_refused(fuzzer: Fuzzer) -> None:
    for path, operations in fuzzer.document["paths"].items():
        for method, operation in operations.items():
            if path.endswith(NAMES_WHAT_IS_THERE):
                continue
            num_served = fuzzer.statuses[f"{method.upper()} {path}"][200]
            least = fuzzer.min_served if "requestBody" in operation else 1
            assert num_served >= least, (path, method)
    assert fuzzer.num_events > fuzzer.min_served
