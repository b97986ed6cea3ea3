"""The load report: its arithmetic and its layout."""

from motet.bench.report import RequestRecord, summarize

BLOCK = """\
============ Serving Benchmark Result ============
Successful requests:                     2
Failed requests:                         1
Maximum request concurrency:             2
Benchmark duration (s):                  4.00
Total input tokens:                      20
Total generated tokens:                  6
Request throughput (req/s):              0.50
Output token throughput (tok/s):         1.50
Peak output token throughput (tok/s):    3.00
Peak concurrent requests:                2.00
Total token throughput (tok/s):          6.50
---------------Time to First Token----------------
Mean TTFT (ms):                          1500.00
Median TTFT (ms):                        1500.00
P99 TTFT (ms):                           1990.00
-----Time per Output Token (excl. 1st token)------
Mean TPOT (ms):                          375.00
Median TPOT (ms):                        375.00
P99 TPOT (ms):                           497.50
---------------Inter-token Latency----------------
Mean ITL (ms):                           375.00
Median ITL (ms):                         375.00
P99 ITL (ms):                            500.00
=================================================="""


def a_record(start_s: float, *piece_times_s: float) -> RequestRecord:
    return RequestRecord("base", start_s, piece_times_s, 10, len(piece_times_s))


def test_block_has_the_layout_of_vllm_with_its_padding() -> None:
    records = [
        a_record(100.0, 102.0, 102.5, 103.0),
        a_record(100.5, 101.5, 101.75, 102.0),
        RequestRecord("base", 100.0, error="HTTP 503"),
    ]
    lines = summarize(records, duration_s=4.0, concurrency=2).block().splitlines()
    assert [line.rstrip() for line in lines] == BLOCK.splitlines()
    assert {len(line) for line in lines} == {50, 51}


def test_requests_that_touch_do_not_overlap() -> None:
    records = [a_record(0.0, 1.0), a_record(1.0, 2.0)]
    assert summarize(records, duration_s=2.0, concurrency=1).max_concurrent_requests == 1


def test_one_token_answers_have_a_first_token_and_nothing_after_it() -> None:
    report = summarize([a_record(0.0, 0.25)], duration_s=1.0, concurrency=1)
    assert (report.mean_ttft_ms, report.mean_tpot_ms, report.mean_itl_ms) == (250.0, 0.0, 0.0)


def test_a_run_without_any_answer_is_all_zeros() -> None:
    report = summarize(
        [RequestRecord("base", 0.0, error="HTTP 500")], duration_s=1.0, concurrency=1
    )
    assert (report.completed, report.failed, report.output_throughput) == (0, 1, 0.0)
    assert report.max_concurrent_requests == 0


def test_the_peak_counts_tokens_even_where_pieces_hold_several() -> None:
    pieces = RequestRecord("base", 0.0, (0.25, 0.5), num_output_tokens=8)
    assert summarize([pieces], duration_s=1.0, concurrency=1).max_output_tokens_per_s == 8.0
