"""Entries of the settings: an entry that would hold for more than it reads is refused."""

from typing import Any

import pytest

from hauberk.api.mesh_config import parse_mesh_config

GOOD: dict[str, Any] = {"name": "backup", "serviceAccount": "shop/backup", "selectors": {"uid": 1000, "path": "/usr/bin/backup"}}


def codes(*entries: dict[str, Any]) -> list[tuple[str, str]]:
    config, findings = parse_mesh_config(repr({"hauberk": {"workloadEntries": list(entries)}}))
    assert (config is None) is bool(findings)
    return [(each.code, ".".join(map(str, each.at[2:]))) for each in findings]


def test_an_entry_is_typed_and_its_selectors_are_texts() -> None:
    config, findings = parse_mesh_config(repr({"hauberk": {"workloadEntries": [GOOD]}}))
    assert config and not findings
    (entry,) = config.hauberk.workload_entries
    assert (entry.account, entry.node, entry.selectors.texts()) == (("shop", "backup"), None, {"uid": "1000", "path": "/usr/bin/backup"})


@pytest.mark.parametrize(("named", "on"), [(None, "the control plane's"), ("n2", "n2")])
def test_an_entry_is_for_one_machine(named: str | None, on: str) -> None:
    config, _ = parse_mesh_config(repr({"hauberk": {"workloadEntries": [GOOD | ({"node": named} if named else {})]}}))
    assert config
    (entry,) = config.hauberk.workload_entries
    machines = (("the control plane's", True), ("n2", False), ("n3", False))
    assert [node for node, own in machines if entry.is_for(node, own=own)] == [on]


def test_an_unknown_selector_is_an_error_and_not_left_out() -> None:
    assert codes(GOOD | {"selectors": {"uid": 1, "comm": "x"}}) == [("HBK0103", "0.selectors.comm")]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"name": "No_Name"}, [("HBK0108", "0.name")]),
        ({"serviceAccount": "backup"}, [("HBK0110", "0.serviceAccount")]),
        ({"serviceAccount": "shop/../x"}, [("HBK0110", "0.serviceAccount")]),
        ({"node": ""}, [("HBK0110", "0.node")]),
        ({"selectors": {}}, [("HBK0105", "0.selectors")]),
        ({"selectors": {"gid": 5}}, [("HBK0113", "0.selectors")]),
        ({"selectors": {"uid": -1}}, [("HBK0107", "0.selectors.uid")]),
        ({"selectors": {"path": "bin/x"}}, [("HBK0110", "0.selectors.path")]),
        ({"selectors": {"path": "/usr/bin/../x"}}, [("HBK0110", "0.selectors.path")]),
        ({"selectors": {"path": "/"}}, [("HBK0110", "0.selectors.path")]),
        ({"selectors": {"cgroup": "a.service"}}, [("HBK0110", "0.selectors.cgroup")]),
        ({"selectors": {"sha256": "AB" * 32}}, [("HBK0110", "0.selectors.sha256")]),
    ],
)
def test_what_could_mean_another_process_is_refused(change: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert codes(GOOD | change) == found


def test_two_entries_of_one_name_are_refused() -> None:
    assert codes(GOOD, GOOD) == [("HBK0112", "1.name")]
