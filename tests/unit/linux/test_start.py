"""How a specification is carried out depends on the mode of the mesh."""

import errno
import os
from dataclasses import replace

import pytest

from hauberk.linux import start
from hauberk.linux.capabilities import UnknownCapability
from hauberk.linux.process import ContainerView, ProcessSpec
from hauberk.linux.start import Ground, plan, plan_to_join
from hauberk.linux.users import Extent
from hauberk.linux.view import Guard

ALL = (Extent(0, 0, 2**32 - 1),)
AS_ROOT = Ground(
    rootless=False,
    caller_uid=0,
    caller_gid=0,
    uids=ALL,
    gids=ALL,
    set_groups=True,
    guard=Guard(hidden=(), protected=()),
    own_pid_namespace=-1,
)
ROOTLESS = replace(
    AS_ROOT, rootless=True, caller_uid=1000, caller_gid=100, uids=(Extent(0, 1000, 1),), gids=(Extent(0, 100, 1),), set_groups=False
)
CONTAINER = ProcessSpec(argv=("program",), container=ContainerView(hostname="h", resolv_conf="", hosts=""))
ENVOY = ProcessSpec(argv=("envoy",), uid=1337, gid=1337, capabilities=("NET_ADMIN",))


def test_as_root_a_program_is_whom_it_says_and_root_if_it_says_nothing() -> None:
    user = plan(replace(CONTAINER, uid=7, gid=8, groups=(9,)), AS_ROOT).user
    assert (user.uid, user.gid, user.groups) == (7, 8, (9,))
    assert plan(CONTAINER, AS_ROOT).user.uid == 0
    assert plan(replace(CONTAINER, uid=7), AS_ROOT).user.gid == 7


def test_only_a_program_of_root_sees_the_machine_read_only() -> None:
    assert plan(CONTAINER, AS_ROOT).read_only
    assert not plan(replace(CONTAINER, uid=7), AS_ROOT).read_only
    assert not plan(replace(CONTAINER, uid=0), ROOTLESS).read_only
    assert plan(replace(CONTAINER, uid=7), replace(ROOTLESS, caller_uid=0)).read_only


def test_as_root_a_program_lives_in_a_user_namespace_where_root_is_nobody_unless_it_was_given_capabilities() -> None:
    assert plan(CONTAINER, AS_ROOT).nested == (ALL, ALL)
    assert plan(replace(CONTAINER, capabilities=("NET_RAW",)), AS_ROOT).nested is None


def test_rootless_a_program_is_whoever_started_the_mesh_under_whatever_number() -> None:
    assert plan(CONTAINER, ROOTLESS).nested == ((Extent(1000, 0, 1),), (Extent(100, 0, 1),))
    chosen = plan(replace(CONTAINER, uid=33, gid=34, groups=(5,), capabilities=("NET_RAW",)), ROOTLESS)
    assert chosen.nested == ((Extent(33, 0, 1),), (Extent(34, 0, 1),))
    assert (chosen.user.uid, chosen.user.gid, chosen.user.groups) == (33, 34, None)


def test_an_envoy_is_a_user_of_its_own_as_root_and_the_only_one_there_is_rootless() -> None:
    assert (plan(ENVOY, AS_ROOT).user.uid, plan(ENVOY, AS_ROOT).nested) == (1337, None)
    assert (plan(ENVOY, ROOTLESS).user.uid, plan(ENVOY, ROOTLESS).nested) == (0, None)
    assert plan(ENVOY, ROOTLESS).kept == {12}


def test_who_joins_a_container_is_its_user_with_its_rights_wherever_it_wants_to_be() -> None:
    target = plan(replace(CONTAINER, uid=7, cwd="/srv", network="pod", no_new_privs=True), AS_ROOT)
    asked = ProcessSpec(argv=("sh",), uid=0, capabilities=("SYS_ADMIN",), no_new_privs=False, cwd="", join="x", tty=True)
    joined = plan_to_join(asked, target)
    assert (joined.user, joined.kept, joined.nested) == (target.user, target.kept, target.nested)
    assert (joined.spec.argv, joined.spec.cwd, joined.spec.network, joined.spec.tty) == (("sh",), "/srv", "pod", True)
    assert joined.spec.no_new_privs
    assert plan_to_join(replace(asked, cwd="/tmp"), target).spec.cwd == "/tmp"


def test_a_capability_that_does_not_exist_is_refused_before_anything_is_started() -> None:
    with pytest.raises(UnknownCapability):
        plan(replace(CONTAINER, capabilities=("FLYING",)), AS_ROOT)


@pytest.mark.parametrize("name", ["/" + "x" * 100_000, "\x01" * 100_000])
def test_a_failure_is_told_whole_however_long_the_name_of_the_program_is(name: str) -> None:
    report, tell = os.pipe()
    start._tell(tell, replace(CONTAINER, argv=(name,)), "exec", OSError(errno.ENAMETOOLONG, "File name too long", name))
    os.close(tell)
    failure = start.read_report(report)
    assert failure is not None
    assert (failure.stage, failure.code) == ("exec", errno.ENAMETOOLONG)
