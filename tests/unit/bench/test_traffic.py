import pytest
from bench.traffic import read_wrk

_PRINTED = """Running 4s test @ http://server:8080/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.31ms    0.95ms  18.06ms   88.57%
    Req/Sec    14.06k     0.92k   15.23k    80.00%
  Latency Distribution
     50%  950.00us
     75%    2.53ms
     90%    3.02ms
     99%    1.20s
  55967 requests in 4.00s, 14.52MB read
Requests/sec:  13991.12
Transfer/sec:      3.63MB
"""


def test_what_wrk_prints_is_understood_in_all_its_units() -> None:
    requests, per_second, median, last = read_wrk(_PRINTED)
    assert (requests, per_second, last) == (55967, 13991.12, 1200.0)
    assert median == pytest.approx(0.95)


@pytest.mark.parametrize("line", ["  Non-2xx or 3xx responses: 17", "  Socket errors: connect 0, read 1, write 0, timeout 0"])
def test_a_run_in_which_requests_failed_counts_for_nothing(line: str) -> None:
    with pytest.raises(RuntimeError, match="requests failed"):
        read_wrk(_PRINTED + line)
