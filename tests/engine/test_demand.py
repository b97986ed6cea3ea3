"""The peak of a set of sequences, against a step-by-step simulation."""

from hypothesis import given
from hypothesis import strategies as st

from motet.engine.demand import Demand, Demands, peak_pages

PAGE_TOKENS = 4

SEQUENCES = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=8)


def a_demand(num_tokens: int, remaining: int) -> Demand:
    pages = -(-num_tokens // PAGE_TOKENS)
    return Demand(pages, pages * PAGE_TOKENS - num_tokens, remaining)


def simulated_peak(sequences: list[tuple[int, int]]) -> int:
    """Count pages after every step until the last sequence has ended."""
    return max(
        sum(-(-(n + step) // PAGE_TOKENS) for n, remaining in sequences if step <= remaining)
        for step in range(max(remaining for _, remaining in sequences) + 1)
    )


@given(SEQUENCES)
def test_the_peak_is_right_up_to_half_a_page_per_sequence(
    sequences: list[tuple[int, int]],
) -> None:
    peak = peak_pages([a_demand(*sequence) for sequence in sequences], PAGE_TOKENS)
    assert abs(peak - simulated_peak(sequences)) <= len(sequences) / 2 + 1


@given(st.integers(1, 60), st.integers(1, 60))
def test_the_peak_of_one_sequence_is_exact(num_tokens: int, remaining: int) -> None:
    peak = peak_pages([a_demand(num_tokens, remaining)], PAGE_TOKENS)
    assert peak == simulated_peak([(num_tokens, remaining)])


@given(SEQUENCES)
def test_what_fits_is_told_by_the_peak(sequences: list[tuple[int, int]]) -> None:
    *running, one_more = [a_demand(*sequence) for sequence in sequences]
    peak = peak_pages([*running, one_more], PAGE_TOKENS)
    demands = Demands(running, PAGE_TOKENS)
    assert demands.fit_with(one_more, peak)
    assert not demands.fit_with(one_more, peak - 1)


def test_sequences_that_end_early_make_room_for_the_long_ones() -> None:
    short, long = a_demand(4, 4), a_demand(4, 40)
    assert peak_pages([short, long], PAGE_TOKENS) == 11  # not 2 + 11: the short one has gone
