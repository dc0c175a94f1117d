"""When an entry holds for a process."""

import pytest

from hauberk.identity.selector import KINDS, unmet

EVIDENCE = {"uid": "1000", "gid": "100", "path": "/usr/bin/backup", "sha256": "ab" * 32, "cgroup": "/system.slice/backup.service/worker"}


def test_all_selectors_must_hold() -> None:
    assert unmet({"uid": "1000", "path": "/usr/bin/backup", "sha256": "ab" * 32}, EVIDENCE) == ()
    assert unmet({"uid": "1000", "path": "/usr/bin/other", "gid": "0"}, EVIDENCE) == ("path", "gid")


def test_an_entry_without_selectors_holds_for_nobody() -> None:
    assert unmet({}, EVIDENCE) == KINDS


def test_a_kind_that_is_unknown_or_not_proven_never_holds() -> None:
    assert unmet({"colour": "red"}, {**EVIDENCE, "colour": "red"}) == ("colour",)
    assert unmet({"sha256": "ab" * 32}, {"uid": "1000"}) == ("sha256",)
    assert unmet({"path": ""}, {"path": ""}) == ("path",)


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        ("/system.slice/backup.service", True),
        ("/system.slice/backup.service/worker", True),
        ("/system.slice/backup", False),
        ("/system.slice/backup.service/work", False),
        ("/system.slice", True),
        ("/other", False),
    ],
)
def test_a_control_group_holds_for_those_below_it(wanted: str, *, holds: bool) -> None:
    assert (unmet({"cgroup": wanted}, EVIDENCE) == ()) is holds


def test_a_path_does_not_hold_for_what_is_below_it() -> None:
    assert unmet({"path": "/usr/bin"}, EVIDENCE) == ("path",)
