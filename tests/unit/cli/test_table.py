"""Tables of text."""

from hauberk.cli.table import bad, columns, good


def test_columns_are_aligned_and_lines_have_no_trailing_blanks() -> None:
    lines = columns(("NAME", "READY", "X"), [("a", good("1/1"), ""), ("longer", bad("0/1"), "z")])
    assert lines == ["NAME     READY   X", "a        1/1", "longer   0/1     z"]


def test_colours_change_nothing_but_colour() -> None:
    rows = [("a", good("yes")), ("b", bad("no"))]
    plain = columns(("N", "OK"), rows)
    colored = columns(("N", "OK"), rows, colors=True)
    assert colored != plain
    import click

    assert [click.unstyle(line) for line in colored] == plain
