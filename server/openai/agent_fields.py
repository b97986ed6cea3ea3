"""Who makes a request, in whichever words it says so: one record for all of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from motet.client.protocol import (
    MAX_ID_CHARS,
    AgentFields,
    AgentHints,
    GenerationRequest,
    NextUseFields,
    Nvext,
    RetainFields,
    SessionControl,
)
from motet.client.protocol import NextUse as NextUseGiven
from motet.engine import AgentCall, AgentKey, NextUse, Unit
from motet.errors import RequestError

SESSION = "X-Dynamo-Session-ID"
PARENT_SESSION = "X-Dynamo-Parent-Session-ID"
SESSION_FINAL = "X-Dynamo-Session-Final"
PLAIN_SESSION = "X-Session-ID"


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request says beside what it asks for."""

    agent: AgentCall | None
    priority: float
    """The lower goes first."""
    cache_salt: str


def caller_of(wish: GenerationRequest, headers: Mapping[str, str], tenant: str) -> Caller:
    """Of several names for one thing the first that is given counts, in the order they have here.

    Raises RequestError.
    """
    nvext = wish.nvext or Nvext()
    hinted = (nvext.agent_hints or AgentHints()).priority or 0
    return Caller(
        agent=_agent(wish, nvext, headers, tenant),
        priority=-hinted if wish.priority is None else wish.priority,
        cache_salt=wish.cache_salt or nvext.cache_salt,
    )


def next_use_of(given: NextUseGiven) -> NextUse | None:
    """None: unknown."""
    match given:
        case "unknown":
            return None
        case "never":
            return NextUse(math.inf)
        case NextUseFields(steps=float(steps)):
            return NextUse(steps, Unit.STEPS)
        case NextUseFields(seconds=seconds, p90=p90):
            assert seconds is not None  # one of the two is given
            return NextUse(seconds, Unit.SECONDS, p90)


def _agent(
    wish: GenerationRequest, nvext: Nvext, headers: Mapping[str, str], tenant: str
) -> AgentCall | None:
    said = wish.agent or AgentFields()
    control = nvext.session_control or SessionControl()
    hints = nvext.agent_hints or AgentHints()
    parent = _header(headers, PARENT_SESSION)
    agent_id = _first(
        said.id,
        wish.agent_id,
        wish.session_id,
        wish.job_id,
        _header(headers, SESSION),
        control.session_id,
        _header(headers, PLAIN_SESSION),
        wish.prompt_cache_key or None,
    )
    if agent_id is None:
        if wish.agent is None:
            return None
        raise RequestError(
            "'agent' has no 'id': give one, there or as 'session_id'",
            code="missing_field",
            param="agent",
        )
    is_closed = control.action == "close"
    retain = said.retain or RetainFields()
    return AgentCall(
        AgentKey(tenant, agent_id),
        program_id=_first(said.program_id, said.parent_id, wish.job_id, parent) or "",
        step=said.step or 0,
        next_use=next_use_of(said.next_use),
        is_final=said.final or wish.is_last_step or is_closed or _is_final(headers),
        tool=said.tool,
        retain_s=_first(retain.ttl_s, None if is_closed else control.timeout),
        supersedes=said.supersedes,
        expected_tokens=_first(said.osl, hints.osl),
    )


def _is_final(headers: Mapping[str, str]) -> bool:
    return headers.get(SESSION_FINAL, "").strip().lower() == "true"


def _header(headers: Mapping[str, str], name: str) -> str | None:
    """The id in a header, which no type bounds; an empty one is none."""
    given = headers.get(name, "").strip()
    if len(given) > MAX_ID_CHARS:
        raise RequestError(
            f"the header '{name}' has {len(given)} characters: an id has at most {MAX_ID_CHARS}",
            param=name,
        )
    return given or None


def _first(*given: T | None) -> T | None:
    """Of what is given."""
    return next((value for value in given if value is not None), None)
