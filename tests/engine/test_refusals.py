"""What can never be served is refused at once, with numbers."""

import pytest

from motet.engine.messages import Arrived
from motet.engine.output import FinishReason
from tests.engine.factories import a_request, a_scheduler, an_adapter


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "says"),
    [
        (250, 7, "1 more than the context of 256"),
        (0, 1, "at least one prompt token"),
        (4, -1, "max_tokens of at least 0, this one has 4 and -1"),
        (40, 16, "need 16 pages, the pool has 15"),
    ],
)
def test_what_can_never_fit_is_refused_with_numbers(
    prompt: int, max_tokens: int, says: str
) -> None:
    adapter = an_adapter(num_pages=2)
    scheduler = a_scheduler(num_pages=15, adapters=[adapter])
    (output,) = scheduler.handle(Arrived(a_request(prompt, max_tokens, adapter), 0.0))
    assert output.finish_reason is FinishReason.REFUSED
    assert says in (output.error or "")
    assert not scheduler.has_work


def test_an_unregistered_adapter_is_refused_by_name() -> None:
    scheduler = a_scheduler()
    (output,) = scheduler.handle(Arrived(a_request(adapter=an_adapter("ghost")), 0.0))
    assert "'ghost'" in (output.error or "")
    assert output.error_kind == "ModelNotFound"
