"""A failure says the same on both ends of the launcher's socket."""

import errno
import json

import pytest

from hauberk.linux.failure import LaunchFailure, LinuxFailure, NameTaken, ProgramNotStarted, decode_failure, encode_failure


def test_a_failure_keeps_its_kind_message_hint_and_code() -> None:
    told = decode_failure(json.loads(json.dumps(encode_failure(NameTaken("taken", "forget it", errno.EEXIST)))))
    assert (type(told), str(told), told.hint, told.code) == (NameTaken, "taken", "forget it", errno.EEXIST)


def test_a_program_that_did_not_start_keeps_where_and_why() -> None:
    failure = ProgramNotStarted("prog", "cwd", errno.ENOENT, "working directory /x", "create /x")
    told = decode_failure(encode_failure(failure))
    assert isinstance(told, ProgramNotStarted)
    assert str(told) == str(failure) == "cannot run 'prog': working directory /x: No such file or directory"
    assert (told.stage, told.code, told.hint, told.program_missing) == ("cwd", errno.ENOENT, "create /x", False)


@pytest.mark.parametrize(
    ("stage", "code", "detail", "exit_code"),
    [
        ("exec", errno.ENOENT, "", 127),
        ("exec", errno.ENOTDIR, "", 127),
        ("exec", errno.EACCES, "", 126),
        ("exec", errno.ENOEXEC, "", 126),
        ("exec", errno.ENOENT, "the interpreter its first line names", 126),
        ("cwd", errno.ENOENT, "working directory /x", None),
        ("user", errno.EPERM, "", None),
    ],
)
def test_a_program_that_cannot_be_run_ends_as_in_a_shell(stage: str, code: int, detail: str, exit_code: int | None) -> None:
    assert ProgramNotStarted("prog", stage, code, detail).exit_code == exit_code


@pytest.mark.parametrize("failure", [LinuxFailure("no", "do"), LaunchFailure("no", "do")])
def test_a_failure_of_another_kind_is_still_a_failure_of_the_launcher(failure: LinuxFailure) -> None:
    told = decode_failure(encode_failure(failure))
    assert (type(told), str(told), told.hint) == (LaunchFailure, "no", "do")
