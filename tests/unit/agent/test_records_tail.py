"""Reading a growing file: every line once, over its rotation and over a restart of who reads."""

from pathlib import Path

import pytest

from hauberk.agent import records_tail
from hauberk.agent.records_tail import Tail
from hauberk.telemetry.store import Position


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_lines_are_read_once_as_they_come(path: Path) -> None:
    tail = Tail(path)
    assert tail.read() == []
    append(path, "a\nb\n")
    assert tail.read() == [b"a", b"b"]
    assert tail.read() == []
    append(path, "c\n")
    assert tail.read() == [b"c"]


def test_half_a_line_waits_for_its_other_half(path: Path) -> None:
    tail = Tail(path)
    append(path, "a\nhal")
    assert tail.read() == [b"a"]
    assert tail.position.offset == 2
    append(path, "f\n")
    assert tail.read() == [b"half"]
    assert tail.position.offset == 7


def test_another_reader_goes_on_where_the_first_one_was(path: Path) -> None:
    first = Tail(path)
    append(path, "a\nb\nhal")
    first.read()
    second = Tail(path)
    second.locate(first.position)
    append(path, "f\n")
    assert second.read() == [b"half"]


def test_a_rotated_file_is_read_to_its_end_before_its_successor(path: Path) -> None:
    tail = Tail(path)
    append(path, "a\n")
    assert tail.read() == [b"a"]
    writer = path.open("a")
    tail.set_aside()
    writer.write("b\n")
    writer.flush()
    assert tail.read() == [b"b"]
    assert tail.read() == []
    writer.write("c\n")
    writer.close()
    append(path, "d\n")
    assert tail.read() == [b"c"]
    assert tail.read() == [b"d"]
    assert [entry.name for entry in path.parent.iterdir()] == ["access.log"]


def test_a_rotation_in_the_middle_of_which_the_reader_ended_is_finished_by_the_next(path: Path) -> None:
    first = Tail(path)
    append(path, "a\nb\n")
    first.read()
    append(path, "c\n")
    first.set_aside()
    append(path, "d\n")
    second = Tail(path)
    second.locate(first.position)
    assert second.read() == [b"c"]
    assert second.read() == [b"d"]


def test_another_file_of_the_same_name_is_read_from_its_beginning(path: Path) -> None:
    append(path, "new\n")
    tail = Tail(path)
    tail.locate(Position(str(path), path.stat().st_ino + 1, 100))
    assert tail.read() == [b"new"]


def test_a_file_that_was_cut_is_read_from_its_beginning(path: Path) -> None:
    append(path, "a\n")
    tail = Tail(path)
    tail.locate(Position(str(path), path.stat().st_ino, 100))
    assert tail.read() == [b"a"]


def test_what_is_too_far_behind_is_given_up_and_counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_tail, "PIECE", 100)
    monkeypatch.setattr(records_tail, "MAX_BEHIND", 1000)
    path.write_text("".join(f"{number:09d}\n" for number in range(1000)))
    tail = Tail(path)
    read: list[bytes] = []
    while lines := tail.read():
        read.extend(lines)
    assert read[-1] == b"000000999"
    assert tail.dropped + len(read) == 1000
    assert len(read) <= 100


def test_a_line_without_end_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_tail, "LONGEST_LINE", 100)
    monkeypatch.setattr(records_tail, "PIECE", 64)
    path.write_text("x" * 10_000 + "\nend\n")
    tail = Tail(path)
    read: list[bytes] = []
    while lines := tail.read():
        read.extend(lines)
    assert read[-1] == b"end"
    assert tail.dropped > 0


def test_a_link_in_the_files_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    path.symlink_to(tmp_path / "secret")
    with pytest.raises(OSError):
        Tail(path).read()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_stays_open(path: Path) -> None:
    before = open_files()
    append(path, "a\n")
    tail = Tail(path)
    tail.read()
    tail.close()
    assert open_files() == before
