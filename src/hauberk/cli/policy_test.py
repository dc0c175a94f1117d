"""`hauberk test`: expectations about requests, held against files; with --live also against real sidecars."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hauberk.cli import invocation, output
from hauberk.cli.connection import tell_problems
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.invocation import talk
from hauberk.cli.lifecycle import rootless_option
from hauberk.cli.options import files_option, read_files
from hauberk.cli.output import Format, output_option
from hauberk.cli.verbs import verb

if TYPE_CHECKING:
    from hauberk.api.manifest import Manifest
    from hauberk.policytest.case import Result, TestFile
    from hauberk.policytest.mesh import TestedMesh

SUFFIXES = (".test.yaml", ".test.yml", ".test.json")
_LOOK = 0.3  # seconds between two looks at the files


@verb(
    "test",
    "hauberk test policies.test.yaml",
    "hauberk test tests/ -f policies/ --junit results.xml",
    "hauberk test policies.test.yaml --watch",
    "hauberk test policies.test.yaml --live       # the same requests, by real sidecars",
)
@click.argument("names", nargs=-1, required=True, metavar="FILE|DIR…", type=click.Path())
@files_option
@click.option("--live", is_flag=True, help="Send the requests through real sidecars, in a mesh of its own, and say where that differs.")
@rootless_option
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT", help="Write the results as JUnit XML.")
@click.option("--watch", is_flag=True, help="Again whenever a file changes, until Ctrl-C.")
@output_option("table", "json", "yaml")
def test(
    *, names: tuple[str, ...], files: tuple[str, ...], live: bool, rootless: bool | None, junit: Path | None, watch: bool, form: Format
) -> int:
    """Policy tests: what should become of requests, held against the objects of files as a fresh mesh would hold them.

    A test file names the files with objects and lists requests with what is expected of them; of a directory, every *.test.yaml is
    taken. No mesh is needed, unless --live is given: then the same requests are also sent by real sidecars between stub programs.
    """
    if watch and live:
        raise click.UsageError("--watch is for tests without a mesh: leave out --live")
    run = _Run(names, files, live=live, rootless=rootless, junit=junit, form=form)
    return run.watch() if watch else run.once()


@dataclass(frozen=True)
class _Run:
    """One call of the command, which --watch repeats."""

    names: tuple[str, ...]
    files: tuple[str, ...]
    live: bool
    rootless: bool | None
    junit: Path | None
    form: Format

    def once(self) -> int:
        """Read, run and report; the exit code."""
        loaded = load(self.names, self.files)
        results = [result for each in loaded for result in _run(each)]
        more: Sequence[Any] = ()
        if self.live:
            from hauberk.cli.policy_test_live import compare  # noqa: PLC0415 -- a mesh, only where one is asked for

            more = compare(loaded, results, rootless=self.rootless)
        return self._report(results, more)

    def watch(self) -> int:
        """Again and again; ends with Ctrl-C."""
        while True:
            seen = _signature((*self.names, *self.files))
            involved: tuple[str, ...] = ()
            try:
                loaded = load(self.names, self.files)
                involved = tuple(name for each in loaded for name in each.read)
                self._report([result for each in loaded for result in _run(each)], [])
            except Failure as failure:
                for line in failure.lines():
                    click.echo(line, err=True)
            watched = (*self.names, *self.files, *involved)
            seen = _signature(watched) if involved else seen
            talk("waiting for a change (Ctrl-C ends)")
            while _signature(watched) == seen:
                time.sleep(_LOOK)
            talk("")

    def _report(self, results: Sequence[Result], more: Sequence[Any]) -> int:
        from hauberk.cli import policy_test_view as view  # noqa: PLC0415 -- with the types of results

        if self.junit is not None:
            _write(self.junit, view.junit_text(results, more))
        if self.form.is_table:
            for line in view.lines(results, more, colors=invocation.current().colors(sys.stdout), quiet=invocation.current().quiet):
                click.echo(line)
        else:
            output.show_document(view.document(results, more), self.form)
        return Exit.DONE if all(each.passed for each in (*results, *more)) else Exit.FAILED


@dataclass(frozen=True)
class Loaded:
    """A test file with the mesh it is about; `read`: the files and directories of that mesh."""

    file: TestFile
    mesh: TestedMesh
    manifest: Manifest
    read: tuple[str, ...]


def load(names: tuple[str, ...], files: tuple[str, ...]) -> list[Loaded]:
    """The test files and their meshes; Failure, after every mistake is told, if one of them has any."""
    from hauberk.policytest.read import read_test_file  # noqa: PLC0415 -- with the types of objects

    wrong = False
    found: list[TestFile] = []
    for each in read_files(tuple(_test_files(names))):
        file, problems = read_test_file(each["text"], each["name"])
        tell_problems([each.to_json() for each in problems])
        wrong = wrong or bool(problems)
        found.append(file)
    if wrong:
        raise Failure("the test files have errors", _missing(found), "correct the errors above", Exit.USAGE)
    manifests: dict[tuple[str, ...], Manifest] = {}
    return [_loaded(file, files, manifests) for file in found]


def _missing(tests: Iterable[TestFile]) -> str:
    """Which files the tests name in vain; nothing is asked of those that are there before the tests can be read."""
    named = (Path(each.name).parent / name for each in tests for name in each.objects)
    missing = [str(each) for each in dict.fromkeys(named) if not each.exists()]
    return f"and there is no {' and no '.join(missing)}" if missing else ""


def _loaded(file: TestFile, files: tuple[str, ...], manifests: dict[tuple[str, ...], Manifest]) -> Loaded:
    from hauberk.policytest.mesh import TestedMesh  # noqa: PLC0415 -- as above

    beside = Path(file.name).parent
    named = tuple(dict.fromkeys((*(str(beside / name) for name in file.objects), *files)))
    if named not in manifests:
        manifests[named] = _manifest(named)
    return Loaded(
        file, TestedMesh(manifests[named], [case.question for case in file.cases], now=datetime.now(UTC)), manifests[named], named
    )


def _manifest(named: tuple[str, ...]) -> Manifest:
    from hauberk.api.manifest import join_manifests, parse_manifest  # noqa: PLC0415 -- as above

    texts = read_files(tuple(_object_files(named)))
    manifest = join_manifests(tuple(parse_manifest(each["text"], each["name"]) for each in texts))
    errors = [each for each in manifest.problems if each.severity == "error"]
    tell_problems([each.to_json() for each in errors])
    if errors:
        raise Failure("the objects have errors", "nothing can be said about a mesh that would not take them", "correct the errors above")
    return manifest


def _test_files(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if not Path(name).is_dir():
            yield name
            continue
        found = sorted(str(each) for each in Path(name).rglob("*") if each.name.endswith(SUFFIXES) and each.is_file())
        if not found:
            raise Failure(f"there are no tests in {name}", "it holds no *.test.yaml", "name the test files", Exit.USAGE)
        yield from found


def _object_files(names: Iterable[str]) -> Iterator[str]:
    """Of directories all but the tests: they may well lie beside the policies."""
    for name in names:
        path = Path(name)
        if not path.is_dir():
            yield name
            continue
        found = (each for each in path.iterdir() if each.suffix in (".yaml", ".yml", ".json") and each.is_file())
        yield from sorted(str(each) for each in found if not each.name.endswith(SUFFIXES))


def _run(loaded: Loaded) -> Iterator[Result]:
    from dataclasses import replace  # noqa: PLC0415 -- as above

    from hauberk.policytest.run import run_case  # noqa: PLC0415 -- as above

    for case in loaded.file.cases:
        began = time.perf_counter()
        result = run_case(case, loaded.mesh)
        yield replace(result, seconds=time.perf_counter() - began)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failure(f"cannot write {path}", error.strerror or str(error), "check the directory and its permissions") from error


def _signature(names: Iterable[str]) -> frozenset[tuple[str, int, int]]:
    """What changes whenever one of the files is written, comes or goes."""
    paths = (each for name in names for each in (Path(name), *(Path(name).rglob("*") if Path(name).is_dir() else ())))
    found: set[tuple[str, int, int]] = set()
    for path in paths:
        try:
            facts = path.stat()
        except OSError:
            continue
        found.add((str(path), facts.st_mtime_ns, facts.st_size))
    return frozenset(found)
