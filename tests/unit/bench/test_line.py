from bench.line import Line, absent, figure, typical


def test_a_line_is_the_median_with_its_extremes() -> None:
    line = typical("group", "name", "s", [3.0, 1.0, 2.0], target=2.0)
    assert (line.value, line.low, line.high, line.samples) == (2.0, 1.0, 3.0, 3)


def test_a_target_is_met_when_it_is_just_reached() -> None:
    assert typical("group", "name", "s", [2.0], target=2.0).met is True
    assert typical("group", "name", "s", [2.1], target=2.0).met is False


def test_what_has_no_target_or_was_not_measured_neither_meets_nor_misses() -> None:
    assert typical("group", "name", "s", [1.0]).met is None
    assert absent("group", "name", "wrk not installed").met is None
    assert Line(group="group", name="name", unit="s", value=None, target=1.0).met is None


def test_figures_have_three_digits_that_mean_something() -> None:
    assert [figure(value) for value in (0.1234, 1.234, 12.34, 12345.6)] == ["0.123", "1.23", "12.3", "12,346"]
