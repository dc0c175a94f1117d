"""The launcher on real namespaces: as root, and the same as a user without privileges."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.e2e import unprivileged

from hauberk.kit.places import RUN_VARIABLE, STATE_VARIABLE, Places
from hauberk.linux import control, failure
from hauberk.linux.launch import ContainerView, Launcher, ProcessSpec
from hauberk.local import launching, up

ROOT = os.geteuid() == 0
PACKAGE = Path(up.__file__).parents[1]
HOSTILE = Path(__file__).with_name("hostile.py")
VIEW = ContainerView(hostname="web", resolv_conf="nameserver 10.244.0.1\n", hosts="127.0.0.1 localhost\n10.244.0.9 web\n")
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C"}


@dataclass(frozen=True)
class Mesh:
    """Only an init: no control plane, no agent."""

    places: Places
    running: launching.Running


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mesh]:
    home = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    home.chmod(0o711)
    monkeypatch.setenv(STATE_VARIABLE, str(home / "s"))
    monkeypatch.setenv(RUN_VARIABLE, str(home / "r"))
    places = Places()
    held = up._prepare(places, rootless=not ROOT)
    assert held is not None
    with up._orphans_adopted(detach=False):
        running = launching.launch(places, held, rootless=not ROOT, tied=True, parts=())
        try:
            yield Mesh(places, running)
        finally:
            up._end(places, running)
            running.close()
            shutil.rmtree(home)


@pytest.fixture
async def launcher(mesh: Mesh) -> AsyncIterator[Launcher]:
    connected = await Launcher.connect(mesh.places.init_socket)
    yield connected
    connected.close()


def shell(script: str, **given: object) -> ProcessSpec:
    return replace(ProcessSpec(argv=("sh", "-c", script), env=ENVIRONMENT, container=VIEW), **given)  # type: ignore[arg-type]


async def output(launcher: Launcher, spec: ProcessSpec, name: str = "program") -> tuple[int, str]:
    """Exit code of the program, and what it wrote."""
    ours, theirs = os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        await launcher.spawn(name, spec, (nothing, theirs, theirs))
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
        os.close(nothing)
    with os.fdopen(ours) as stream:
        text = await asyncio.to_thread(stream.read)
    status = await launcher.wait(name)
    await launcher.forget(name)
    return os.waitstatus_to_exitcode(status), text


@contextlib.asynccontextmanager
async def sleeping(launcher: Launcher, name: str, spec: ProcessSpec) -> AsyncIterator[None]:
    await launcher.spawn(name, spec, (0, 1, 2))
    yield
    with contextlib.suppress(failure.UnknownProcess):
        await launcher.signal(name, signal.SIGKILL)
        await launcher.wait(name)
        await launcher.forget(name)


async def test_a_program_is_the_first_process_of_its_own_small_world(launcher: Launcher) -> None:
    code, text = await output(launcher, shell("echo $$; hostname; cat /etc/resolv.conf /etc/hosts; ls /proc | grep -c '^[0-9]'"))
    assert code == 0
    assert text.splitlines() == ["1", "web", "nameserver 10.244.0.1", "127.0.0.1 localhost", "10.244.0.9 web", "3"]


async def test_a_program_has_exactly_the_environment_directory_and_mask_it_was_given(launcher: Launcher) -> None:
    spec = ProcessSpec(argv=("/bin/sh", "-c", "env | grep -v '^PWD='; pwd; umask"), env={"A": "b"}, cwd="/usr", umask=0o027, container=VIEW)
    assert await output(launcher, spec) == (0, "A=b\n/usr\n0027\n")


async def test_a_limit_that_was_given_holds(launcher: Launcher) -> None:
    assert await output(launcher, shell("ulimit -n", rlimits=(("NOFILE", 123, 123),))) == (0, "123\n")


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$ & wait; sleep 5", None)])
async def test_the_exit_of_a_program_is_told_as_it_was(launcher: Launcher, script: str, status: int | None) -> None:
    # The first process of a PID namespace cannot be killed from inside; the second script goes on until it is killed from outside.
    await launcher.spawn("program", shell(script), (0, 1, 2))
    if status is None:
        await launcher.signal("program", signal.SIGKILL)
    told = os.waitstatus_to_exitcode(await launcher.wait("program"))
    assert told == (status if status is not None else -signal.SIGKILL)


async def test_an_exit_is_remembered_until_it_is_forgotten(launcher: Launcher) -> None:
    await launcher.spawn("program", shell("exit 3"), (0, 1, 2))
    await launcher.wait("program")
    (process,) = await launcher.processes("prog")
    assert await launcher.processes("program/") == ()
    assert (process.running, process.name, os.waitstatus_to_exitcode(process.wait_status or 0)) == (False, "program", 3)
    with pytest.raises(failure.NameTaken):
        await launcher.spawn("program", shell("true"), (0, 1, 2))
    await launcher.forget("program")
    assert await launcher.processes() == ()
    with pytest.raises(failure.UnknownProcess):
        await launcher.wait("program")


async def test_a_program_that_does_not_exist_is_named_and_leaves_its_name_free(launcher: Launcher) -> None:
    for argv in (("no-such-program",), ("/no/such/program",)):
        with pytest.raises(failure.ProgramNotStarted, match=f"cannot run '{argv[0]}': No such file") as caught:
            await launcher.spawn("program", shell("", argv=argv), (0, 1, 2))
        assert caught.value.program_missing
        assert "exists" in caught.value.hint
    assert (await output(launcher, shell("echo yes")))[1] == "yes\n"


async def test_every_reason_why_a_program_cannot_run_is_told_apart(launcher: Launcher, mesh: Mesh) -> None:
    folder = mesh.places.state.parent.parent / "programs"
    folder.mkdir(mode=0o755)
    for name, text, mode in (("plain", "#!/bin/sh\n", 0o644), ("orphan", "#!/no/such/shell\n", 0o755), ("noise", "\1\2", 0o755)):
        (folder / name).write_text(text)
        (folder / name).chmod(mode)
    wrong: tuple[tuple[ProcessSpec, str, str], ...] = (
        (shell("", argv=(str(folder / "plain"),)), "exec", "Permission denied"),
        (shell("", argv=(str(folder / "orphan"),)), "exec", "the interpreter its first line names: No such file"),
        (shell("", argv=(str(folder / "noise"),)), "exec", "Exec format error"),
        (shell("", argv=("plain",), env={"PATH": str(folder)}), "exec", "Permission denied"),
        (shell("", cwd="/no/such/directory"), "cwd", "working directory /no/such/directory: No such file"),
    )
    for spec, stage, message in wrong:
        with pytest.raises(failure.ProgramNotStarted, match=message) as caught:
            await launcher.spawn("program", spec, (0, 1, 2))
        assert caught.value.stage == stage


async def test_what_cannot_be_a_request_is_refused_and_the_launcher_goes_on(launcher: Launcher) -> None:
    with pytest.raises(failure.LauncherRefused):
        await launcher.spawn("program", shell("", argv=()), (0, 1, 2))
    with pytest.raises(failure.LaunchFailure, match="is no capability"):
        await launcher.spawn("program", shell("", capabilities=("FLYING",)), (0, 1, 2))
    with pytest.raises(failure.UnknownNetwork):
        await launcher.spawn("program", shell("", network="nowhere"), (0, 1, 2))
    with pytest.raises(failure.UnknownProcess):
        await launcher.signal("nobody", signal.SIGTERM)
    with pytest.raises(failure.LauncherRefused):
        await launcher.spawn("mesh/agent", shell("true"), (0, 1, 2))
    assert await launcher.processes() == ()


async def test_a_command_line_larger_than_any_packet_arrives_whole(launcher: Launcher) -> None:
    words = tuple("x" * 100_000 for _ in range(5))
    assert await output(launcher, shell("echo $# ${#5}", argv=("sh", "-c", "echo $# ${#5}", "sh", *words))) == (0, "5 100000\n")


async def test_many_programs_start_at_once(launcher: Launcher) -> None:
    codes = await asyncio.gather(*(launcher.run(f"p{number}", shell(f"exit {number}"), (0, 1, 2)) for number in range(40)))
    assert [os.waitstatus_to_exitcode(code) for code in codes] == list(range(40))
    assert await launcher.processes() == ()


async def test_cancelling_a_run_kills_and_forgets_its_program(launcher: Launcher) -> None:
    task = asyncio.create_task(launcher.run("program", shell("sleep 1000"), (0, 1, 2)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 0.2)
    assert [process.running for process in await launcher.processes()] == [True]
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    with contextlib.suppress(failure.UnknownProcess):
        await launcher.wait("program")
    assert await launcher.processes() == ()


async def test_cancelling_a_run_whose_program_is_still_on_its_way_leaves_nothing(launcher: Launcher) -> None:
    task = asyncio.create_task(launcher.run("program", shell("sleep 1000"), (0, 1, 2)))
    await asyncio.sleep(0)  # asked for, and not answered yet
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    with contextlib.suppress(failure.UnknownProcess):
        await asyncio.wait_for(launcher.wait("program"), 10)
    assert await launcher.processes() == ()


async def inside(launcher: Launcher, network: int, script: str) -> tuple[int, str]:
    """Exit code and output of Python code that runs where the agent runs, with `network` as its descriptor 0."""
    ours, theirs = os.pipe()
    # The interpreter's own variables are not ours to know: it must find hauberk as this one does.
    spec = ProcessSpec(argv=(sys.executable, "-c", script), env=dict(os.environ), capabilities=("ALL",))
    await launcher.spawn("inside", spec, (network, theirs, theirs))
    os.close(theirs)
    with os.fdopen(ours) as stream:
        text = await asyncio.to_thread(stream.read)
    code = os.waitstatus_to_exitcode(await launcher.wait("inside"))
    await launcher.forget("inside")
    return code, text


async def test_a_network_is_the_same_for_program_and_agent_and_has_its_low_ports_free(launcher: Launcher) -> None:
    network = await launcher.create_network("pod")
    serve = (
        "import asyncio, socket\n"
        "from hauberk.linux.netns import in_network_async\n"
        "async def main():\n"
        "    with await in_network_async(0, lambda: socket.create_server(('127.0.0.1', 80))) as server:\n"
        "        print('listening', flush=True)\n"
        "        server.accept()[0].sendall(b'hello')\n"
        "asyncio.run(main())"
    )
    call = (
        "import socket, time\n"
        "while True:\n"
        "    try: s = socket.create_connection(('127.0.0.1', 80)); break\n"
        "    except ConnectionRefusedError: time.sleep(0.01)\n"
        "socket.create_server(('', 81)); print(s.recv(9).decode())"
    )
    spec = shell("", argv=("python3", "-c", call), network="pod", uid=1234 if ROOT else None)
    served, called = await asyncio.gather(inside(launcher, network, serve), output(launcher, spec))
    assert served == (0, "listening\n")
    assert called == (0, "hello\n")
    os.close(network)


async def test_networks_are_listed_handed_out_again_and_deleted(launcher: Launcher) -> None:
    first = await launcher.create_network("pod")
    again = await launcher.create_network("pod")
    known = await launcher.network("pod")
    assert len({os.fstat(descriptor).st_ino for descriptor in (first, again, known)}) == 1
    assert await launcher.networks() == ("pod",)
    await launcher.delete_network("pod")
    assert await launcher.networks() == ()
    with pytest.raises(failure.UnknownNetwork):
        await launcher.network("pod")
    for descriptor in (first, again, known):
        os.close(descriptor)


async def test_what_fails_inside_a_network_fails_for_whoever_asked(launcher: Launcher) -> None:
    network = await launcher.create_network("pod")
    script = (
        "import socket\n"
        "from hauberk.linux.netns import in_network\n"
        "outside = len(socket.if_nameindex())\n"
        "print([name for _, name in in_network(0, socket.if_nameindex)])\n"
        "assert len(socket.if_nameindex()) == outside\n"
        "try: in_network(0, lambda: 1 // 0)\n"
        "except ZeroDivisionError: print('told')"
    )
    assert await inside(launcher, network, script) == (0, "['lo']\ntold\n")
    os.close(network)


async def test_a_joined_program_is_inside_the_container_as_the_same_user(launcher: Launcher) -> None:
    os.close(await launcher.create_network("pod"))
    who = shell("exec sleep 1000", network="pod", cwd="/usr", uid=1234 if ROOT else None)
    ask = "hostname; id -u; readlink /proc/1/exe /proc/self/ns/net /proc/1/ns/net; pwd; grep CapEff /proc/self/status"
    async with sleeping(launcher, "program", who):
        code, text = await output(launcher, ProcessSpec(argv=("sh", "-c", ask), env=ENVIRONMENT, cwd="", join="program"), "exec")
    lines = text.splitlines()
    assert code == 0
    assert lines[:2] == ["web", "1234" if ROOT else str(os.getuid())]
    assert lines[2].endswith("sleep")
    assert lines[3] == lines[4]
    assert lines[5:] == ["/usr", "CapEff:\t0000000000000000"]


async def test_a_joined_program_ends_with_its_container(launcher: Launcher) -> None:
    async with sleeping(launcher, "program", shell("sleep 1000")):
        await launcher.spawn("exec", ProcessSpec(argv=("sleep", "1000"), env=ENVIRONMENT, join="program"), (0, 1, 2))
        await launcher.signal("program", signal.SIGKILL)
        assert os.waitstatus_to_exitcode(await launcher.wait("exec")) == -signal.SIGKILL
    with pytest.raises(failure.UnknownProcess):
        await launcher.spawn("late", ProcessSpec(argv=("true",), env=ENVIRONMENT, join="program"), (0, 1, 2))


async def test_a_terminal_controls_the_joined_program(launcher: Launcher) -> None:
    ours, theirs = os.openpty()
    async with sleeping(launcher, "program", shell("exec sleep 1000")):
        spec = ProcessSpec(
            argv=("sh", "-c", "test -t 0 && echo ready >/dev/tty; exec sleep 1000"), env=ENVIRONMENT, join="program", tty=True
        )
        await launcher.spawn("exec", spec, (theirs, theirs, theirs))
        os.close(theirs)
        assert (await asyncio.to_thread(os.read, ours, 100)).startswith(b"ready")
        os.write(ours, b"\x03")
        assert os.waitstatus_to_exitcode(await launcher.wait("exec")) == -signal.SIGINT
    os.close(ours)


async def test_a_program_holds_no_capability_but_those_it_was_given(launcher: Launcher) -> None:
    ask = shell("grep -E '^(Cap|NoNewPrivs)' /proc/self/status")
    none = dict(line.split() for line in (await output(launcher, ask))[1].splitlines())
    assert {int(value, 16) for key, value in none.items() if key.startswith("Cap")} == {0}
    assert none["NoNewPrivs:"] == "1"
    given = dict(line.split() for line in (await output(launcher, replace(ask, capabilities=("CAP_NET_RAW",))))[1].splitlines())
    assert {int(value, 16) for key, value in given.items() if key.startswith("Cap")} == {1 << 13}


async def test_an_envoy_holds_only_what_its_marks_need(launcher: Launcher) -> None:
    os.close(await launcher.create_network("pod"))
    script = (
        "import socket, json\n"
        "s = socket.socket(); s.setsockopt(1, 36, 1337)\n"
        "print(json.dumps([line.split() for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapBnd', 'Uid'))]))"
    )
    spec = ProcessSpec(argv=("python3", "-c", script), env=ENVIRONMENT, network="pod", uid=1337, gid=1337, capabilities=("NET_ADMIN",))
    code, text = await output(launcher, spec)
    assert code == 0
    facts = {line[0]: line[1] for line in json.loads(text)}
    assert int(facts["CapEff:"], 16) == int(facts["CapBnd:"], 16) == 1 << 12
    assert facts["Uid:"] == ("1337" if ROOT else "0")


async def test_a_process_of_the_mesh_is_put_into_a_directory_it_could_not_have_found(launcher: Launcher, mesh: Mesh) -> None:
    own = mesh.places.state / "closed" / "own"
    own.mkdir(mode=0o711, parents=True)
    own.parent.chmod(0o700)
    (own / "file").write_text("mine")
    (own / "file").chmod(0o644)
    assert await output(launcher, ProcessSpec(argv=("/bin/cat", "file"), uid=1337, gid=1337, cwd=str(own))) == (0, "mine")
    if ROOT:
        with pytest.raises(failure.ProgramNotStarted, match="working directory"):
            await launcher.spawn("program", shell("true", uid=1234, cwd="/root"), (0, 1, 2))


async def test_a_file_can_be_run_that_its_user_could_not_reach(launcher: Launcher, mesh: Mesh) -> None:
    closed = mesh.places.state / "closed"
    closed.mkdir(mode=0o700)
    shutil.copy("/bin/echo", closed / "echo")
    program = os.open(closed / "echo", os.O_RDONLY)
    assert await output(launcher, ProcessSpec(argv=("echo", "hello"), uid=1337, gid=1337, executable=program)) == (0, "hello\n")
    os.close(program)


async def hostile(launcher: Launcher, mesh: Mesh, uid: int | None, *extra: str) -> dict[str, str | None]:
    """What a hostile program achieved: nothing, if every value is None."""
    os.close(await launcher.create_network("pod"))
    (mesh.places.state / "ca").mkdir()
    (mesh.places.state / "ca" / "key").write_text("secret")
    sidecar = await launcher.spawn("proxy", ProcessSpec(argv=("sleep", "1000"), env=ENVIRONMENT, network="pod"), (0, 1, 2))
    # Beyond the pids that the container itself can have.
    arguments = (str(mesh.places.state), str(mesh.places.run), str(PACKAGE), str(sidecar.pid + 1000), *extra)
    spec = shell("", argv=("/usr/bin/python3", str(HOSTILE), *arguments), network="pod", uid=uid, gid=uid)
    code, text = await output(launcher, spec)
    assert code == 0, text
    assert (mesh.places.state / "ca" / "key").read_text() == "secret"
    achieved: dict[str, str | None] = json.loads(text.splitlines()[-1])
    return achieved


@pytest.mark.parametrize("uid", [None, 1234])
async def test_a_program_gets_at_nothing_of_the_mesh(launcher: Launcher, mesh: Mesh, uid: int | None) -> None:
    results = await hostile(launcher, mesh, uid)
    assert len(results) > 40
    assert {name: achieved for name, achieved in results.items() if achieved is not None} == {}


async def test_a_program_sees_nothing_of_the_mesh_in_processes_that_join_it(launcher: Launcher, mesh: Mesh) -> None:
    watching = asyncio.create_task(hostile(launcher, mesh, None, "joining"))
    joined = 0
    while not watching.done():
        with contextlib.suppress(failure.LaunchFailure):
            await launcher.run("join", ProcessSpec(argv=("true",), env=ENVIRONMENT, join="program"), (0, 1, 2))
            joined += 1
    assert await watching == {"look into joining processes": None}
    assert joined > 10


async def test_a_program_cannot_move_what_is_hidden_from_it(launcher: Launcher, mesh: Mesh) -> None:
    # Under another name, it would lie bare before the next program that is started.
    home = mesh.places.state.parent.parent
    for path in (home, mesh.places.state.parent, mesh.places.run.parent, mesh.places.state):
        code, text = await output(launcher, shell(f"mv -T {path} {path}-moved", cwd="/tmp"))
        assert code != 0, f"{path} was moved: {text}"
        assert path.exists()


async def test_a_program_is_not_started_where_the_mesh_cannot_be_hidden(launcher: Launcher, mesh: Mesh) -> None:
    mesh.places.run.rename(mesh.places.run.with_name("moved"))
    try:
        with pytest.raises(failure.ProgramNotStarted, match="cannot be hidden"):
            await output(launcher, shell("true"))
    finally:
        mesh.places.run.with_name("moved").rename(mesh.places.run)


@pytest.mark.skipif(not ROOT, reason="without privileges a program has only its user's rights anyway")
async def test_a_program_of_root_writes_nowhere_but_where_it_works(launcher: Launcher, mesh: Mesh) -> None:
    work = mesh.places.state.parent.parent / "work"
    work.mkdir()
    script = f"touch /etc/x /usr/x ~root/x {work.parent}/x; touch {work}/ok /tmp/hauberk-ok; rm /tmp/hauberk-ok; ls {work}"
    _, text = await output(launcher, shell(script, cwd=str(work)))
    # /tmp itself can be written, so what lies beside the working directory can be as well, here.
    assert text.count("Read-only file system") == 3
    assert text.splitlines()[-1] == "ok"


async def test_a_process_of_a_sidecar_may_not_use_the_launcher(launcher: Launcher, mesh: Mesh) -> None:
    ask = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "s.connect(sys.argv[1])\n"
        "print(s.recv(999).decode(), s.recv(9))"
    )
    spec = ProcessSpec(argv=("python3", "-c", ask, str(mesh.places.init_socket)), env=ENVIRONMENT)
    code, text = await output(launcher, spec)
    assert code == 0
    assert "LauncherRefused" in text
    assert text.rstrip().endswith("b''")


async def test_a_kept_socket_outlives_the_client_that_kept_it(launcher: Launcher, mesh: Mesh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        await launcher.keep_socket("names", server.fileno())
    launcher.close()
    successor = await Launcher.connect(mesh.places.init_socket)
    descriptor = await successor.kept_socket("names")
    assert descriptor is not None
    assert await successor.kept_socket("others") is None
    with socket.socket(fileno=descriptor) as adopted, socket.create_connection(address):
        adopted.accept()[0].close()
    await successor.drop_socket("names")
    assert await successor.kept_socket("names") is None
    successor.close()


async def test_processes_outlive_the_client_and_are_found_by_the_next(launcher: Launcher, mesh: Mesh) -> None:
    started = await launcher.spawn(
        "program", shell("exit 5", argv=("sh", "-c", "read x; exit 5")), (os.open(os.devnull, os.O_RDONLY), 1, 2)
    )
    launcher.close()
    successor = await Launcher.connect(mesh.places.init_socket)
    assert [process.pid for process in await successor.processes()] == [started.pid]
    await successor.wait("program")
    successor.close()


async def test_when_init_is_killed_every_process_ends_and_the_client_is_told(launcher: Launcher, mesh: Mesh) -> None:
    for name in ("one", "two"):
        await launcher.spawn(name, shell("sleep 1000"), (0, 1, 2))
    ended = asyncio.create_task(launcher.wait("one"))
    descendants = _descendants(mesh.running.pid)
    assert len(descendants) >= 2
    await asyncio.sleep(0)
    os.kill(mesh.running.pid, signal.SIGKILL)
    with pytest.raises(failure.LauncherGone):
        await ended
    await launcher.gone()
    assert up._ended(mesh.running, 10)
    assert [pid for pid in descendants if _alive(pid)] == []


def _alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def _descendants(pid: int) -> list[int]:
    children = [int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()]
    return [*children, *(deeper for child in children for deeper in _descendants(child))]


async def test_nothing_answers_where_no_mesh_runs(tmp_path: Path) -> None:
    with pytest.raises(failure.LauncherGone, match="nothing answers") as caught:
        await Launcher.connect(tmp_path / "init.sock")
    assert "hauberk up" in caught.value.hint


async def test_init_is_small(mesh: Mesh) -> None:
    assert control.private_memory(mesh.running.pid) < 14 * 1024 * 1024


@pytest.mark.skipif(not ROOT, reason="this is what it is run by")
def test_all_of_this_holds_without_privileges() -> None:
    done = unprivileged.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(Path(__file__))])
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_privileges_means_without_privileges() -> None:
    done = unprivileged.run(["/bin/sh", "-c", "id -u; grep CapEff /proc/self/status"])
    assert done.stdout.split()[0] == (str(unprivileged.NOBODY) if ROOT else str(os.getuid()))
    assert done.stdout.split()[-1] == "0000000000000000"
    assert isinstance(done, subprocess.CompletedProcess)
