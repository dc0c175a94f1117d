"""Writes typed stubs of the Envoy messages this code uses into typings/, from the descriptors that are installed.

Run by `make setup` and `make check`; does nothing while the same modules of the same versions are imported. The generator is
mypy-protobuf's protoc plugin, fed with descriptors instead of .proto files: the stubs then describe exactly the messages that
will be imported, and nothing generated is committed.
"""

from __future__ import annotations

import ast
import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor import FileDescriptor

TOP = Path(__file__).resolve().parents[1]
TYPINGS = TOP / "typings"
MADE_FROM = TYPINGS / "made-from"
PLUGIN = Path(sys.executable).with_name("protoc-gen-mypy")
ROOTS = ("envoy", "google", "xds", "udpa", "opentelemetry")  # packages whose messages come without types
TYPED = "google/protobuf/"  # types-protobuf has these


def main() -> int:
    """Everything under typings/ is new, unless it would be the same; the exit code is the plugin's."""
    modules = sorted(set(imported_modules()))
    made_from = "\n".join([*(f"{name} {version(name)}" for name in ("xds-protos", "mypy-protobuf")), *modules])
    if MADE_FROM.exists() and MADE_FROM.read_text(encoding="utf-8") == made_from:
        return 0
    files = tuple(descriptors(modules))
    request = CodeGeneratorRequest(parameter="quiet", file_to_generate=[file.name for file in files if not file.name.startswith(TYPED)])
    for file in files:
        file.CopyToProto(request.proto_file.add())
    done = subprocess.run([str(PLUGIN)], input=request.SerializeToString(), stdout=subprocess.PIPE, check=False)
    response = CodeGeneratorResponse.FromString(done.stdout)
    if done.returncode or response.error:
        print(f"{PLUGIN.name} failed: {response.error}", file=sys.stderr)
        return done.returncode or 1
    write(response)
    MADE_FROM.write_text(made_from, encoding="utf-8")
    return 0


def imported_modules() -> Iterator[str]:
    """Names of the message modules that our code imports."""
    for source in (path for folder in ("src", "tests", "scripts", "bench") for path in (TOP / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_bytes())):
            for name in _names(node):
                if name.partition(".")[0] in ROOTS and name.endswith("_pb2"):
                    yield name


def _names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import():
            yield from (each.name for each in node.names)
        case ast.ImportFrom(module=str(module), level=0):
            yield module
            yield from (f"{module}.{each.name}" for each in node.names)
        case _:
            return


def descriptors(modules: list[str]) -> Iterator[FileDescriptor]:
    """The files that define these modules and all they depend on, each after what it needs, as the plugin wants them."""
    seen: set[str] = set()

    def visit(file: FileDescriptor) -> Iterator[FileDescriptor]:
        if file.name in seen:
            return
        seen.add(file.name)
        for dependency in file.dependencies:
            yield from visit(dependency)
        yield file

    for name in modules:
        yield from visit(importlib.import_module(name).DESCRIPTOR)


def write(response: CodeGeneratorResponse) -> None:
    """The stubs, and beside them what makes their folders packages."""
    shutil.rmtree(TYPINGS, ignore_errors=True)
    for file in response.file:
        path = TYPINGS / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content, encoding="utf-8")
    for folder in {parent for path in TYPINGS.rglob("*.pyi") for parent in path.relative_to(TYPINGS).parents}:
        # `google` is shared with the stubs of protobuf itself, so it stays a namespace.
        if folder.parts and folder.parts[0] != "google":
            (TYPINGS / folder / "__init__.pyi").touch()


if __name__ == "__main__":
    sys.exit(main())
