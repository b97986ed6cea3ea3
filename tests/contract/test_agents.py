"""Agents on the whole stack: what is said of them is kept, answered and acted on."""

from typing import Any

import pytest

from tests.contract.contract_server import Api, Json

PROMPT = [5] * 40


def ask(api: Api, method: str, path: str, **body: Any) -> Json:
    """The answer, which must be a good one."""
    answer = api.http.request(method, path, json=body or None)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def call(api: Api, agent: str, **fields: Any) -> Json:
    """A request of the agent for some tokens."""
    said = {"id": agent} | fields
    return ask(api, "POST", "/v1/completions", prompt=PROMPT, max_tokens=3, agent=said)


def state(api: Api, agent: str) -> Json:
    return ask(api, "GET", f"/v1/agents/{agent}")


def test_an_agent_is_known_from_its_first_call_on(api: Api) -> None:
    call(api, "first", next_use={"steps": 3})
    known = state(api, "first")
    assert known["calls"] == 1 and known["running"] == 0
    assert known["adapter"] is None
    assert known["next_use"] == {"steps": 3} and known["source"] == "hint"
    assert known["kv_bytes_device"] > 0


def test_steps_that_pass_bring_it_nearer(api: Api) -> None:
    call(api, "ticking", next_use={"steps": 5})
    ask(api, "POST", "/v1/agents/tick", n=2)
    assert state(api, "ticking")["next_use"] == {"steps": 3}


def test_what_was_said_last_counts(api: Api) -> None:
    call(api, "pushed")
    answer = ask(api, "POST", "/v1/agents/distances", distances={"pushed": 7, "nobody": 1})
    assert (answer["applied"], answer["unknown"]) == (1, 1)
    assert state(api, "pushed")["next_use"] == {"steps": 7}
    assert state(api, "pushed")["source"] == "push"
    call(api, "pushed", next_use="never")
    assert state(api, "pushed")["next_use"] == "never"


def test_an_old_epoch_changes_nothing(api: Api) -> None:
    call(api, "epochs")
    ask(api, "POST", "/v1/agents/distances", epoch=10, distances={"epochs": 4})
    late = ask(api, "POST", "/v1/agents/distances", epoch=9, distances={"epochs": 1})
    assert late["stale"] and late["applied"] == 0
    assert state(api, "epochs")["next_use"] == {"steps": 4}


def test_verbs_are_answered_with_what_they_are_about(api: Api) -> None:
    call(api, "moved")
    for verb, said in (("retain", {"ttl_s": 3}), ("demote", {}), ("evict", {}), ("prefetch", {})):
        answer = ask(api, "POST", f"/v1/agents/moved/{verb}", target="kv", **said)
        assert answer["outcome"] == "accepted", verb
    assert ask(api, "POST", "/v1/agents/stranger/prefetch")["outcome"] == "missing"


def test_an_agent_that_is_deleted_is_gone_with_what_it_alone_owns(api: Api) -> None:
    body = {"prompt": [9] * 64, "max_tokens": 1, "agent": {"id": "gone"}}
    ask(api, "POST", "/v1/completions", **body)
    assert ask(api, "DELETE", "/v1/agents/gone")["bytes"] > 0
    assert api.http.get("/v1/agents/gone").status_code == 404
    answer = ask(api, "POST", "/v1/completions", **body)
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


def test_a_prompt_that_was_warmed_is_not_computed_again(api: Api) -> None:
    warmed = ask(api, "POST", "/v1/agents/warm/warm", prompt=[7] * 48)
    assert warmed["outcome"] == "accepted" and warmed["prompt_tokens"] == 48
    body = {"prompt": [7] * 60, "max_tokens": 1, "agent": {"id": "warm"}}
    answer = ask(api, "POST", "/v1/completions", **body)
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] >= 32


def test_an_agent_may_be_known_before_it_calls_with_its_adapter(api: Api) -> None:
    known = ask(api, "POST", "/v1/agents", id="coming/soon", adapter="legal")
    assert known["adapter"] == "legal" and known["calls"] == 0
    assert state(api, "coming%2Fsoon")["id"] == "coming/soon"
    changed = ask(api, "PATCH", "/v1/agents/coming%2Fsoon", model="tiny", next_use="never")
    assert changed["adapter"] is None and changed["next_use"] == "never"


@pytest.mark.parametrize("distance", [0, 1e-300, 2.0**31, 1e300, "never"])
def test_any_distance_is_a_distance(api: Api, distance: float | str) -> None:
    call(api, "extreme")
    ask(api, "POST", "/v1/agents/distances", distances={"extreme": distance})
    ask(api, "POST", "/v1/agents/tick", n=1)
    assert state(api, "extreme")["calls"] > 0
    call(api, "extreme")


def test_words_of_others_mean_the_same(api: Api) -> None:
    ask(api, "POST", "/v1/completions", prompt=PROMPT, max_tokens=1, agent_id="scaled")
    ask(api, "POST", "/v1/update", agent_data={"scaled": 2}, timestep_cnt=2**40)
    assert state(api, "scaled")["next_use"] == {"steps": 2}


def test_an_answer_says_where_its_state_came_from(api: Api) -> None:
    call(api, "told")
    answer = call(api, "told")
    assert answer["agent_state"]["prefix"]["cached_tokens"] >= 32
