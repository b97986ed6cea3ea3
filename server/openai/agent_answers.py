"""What the engine says of agents, as it travels."""

import math

from motet.client.protocol import AgentState, MoveAnswer, NextUseFields
from motet.client.protocol import NextUse as NextUseGiven
from motet.engine import AgentStatus, Moved, NextUse, Unit


def agent_state(status: AgentStatus, page_bytes: int) -> AgentState:
    return AgentState(
        id=status.agent_id,
        adapter=status.adapter,
        running=status.num_running,
        calls=status.num_calls,
        next_use=next_use(status.distance),
        source=status.source,
        kv_bytes_device=status.kv_pages_device * page_bytes,
        kv_bytes_host=status.kv_pages_host * page_bytes,
        adapter_state=status.adapter_residency,
    )


def move_answer(moved: Moved, page_bytes: int) -> MoveAnswer:
    return MoveAnswer(
        outcome=moved.outcome.value, bytes=moved.num_pages * page_bytes, eta_ms=moved.eta_s * 1000
    )


def next_use(distance: NextUse | None) -> NextUseGiven:
    """As requests say it."""
    if distance is None:
        return "unknown"
    if math.isinf(distance.value):
        return "never"
    if distance.unit is Unit.STEPS:
        return NextUseFields(steps=distance.value)
    return NextUseFields(seconds=distance.value)
