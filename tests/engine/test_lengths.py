"""Expected lengths follow what finished lately."""

from motet.engine.lengths import ENOUGH, PRIOR_TOKENS, WINDOW, LengthEstimator


def test_before_anything_finished_the_prior_holds() -> None:
    assert LengthEstimator().expected("a") == PRIOR_TOKENS


def test_an_adapter_is_judged_by_all_until_it_has_enough_outputs_of_its_own() -> None:
    lengths = LengthEstimator()
    for _ in range(1000):
        lengths.finished("b", 100)
    for count in range(ENOUGH):
        assert lengths.expected("a") == 100, count
        lengths.finished("a", 7)
    assert lengths.expected("a") == 7
    assert lengths.expected(None) == 100


def test_the_estimate_is_the_90_percent_quantile() -> None:
    lengths = LengthEstimator()
    for length in range(1, 102):
        lengths.finished("a", length)
    assert lengths.expected("a") == 91


def test_old_outputs_are_forgotten() -> None:
    lengths = LengthEstimator()
    for length in (500, 3):
        for _ in range(WINDOW):
            lengths.finished("a", length)
    assert lengths.expected("a") == 3
