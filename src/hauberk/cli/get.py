"""`hauberk get`: objects as tables, names or documents, once or as they change."""

from __future__ import annotations

import json
from typing import Any

import click

from hauberk.api.kinds import Kind
from hauberk.cli import completion_names, connection, kinds, output, table, views
from hauberk.cli.connection import Document, Mesh
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.options import all_namespaces_option, namespace_option, selector_option
from hauberk.cli.output import Format, output_option
from hauberk.cli.verbs import verb


@verb(
    "get",
    "hauberk get pods",
    "hauberk get pods,services -A -o wide",
    "hauberk get deploy/web -o yaml",
    "hauberk get pod -l app=web -o jsonpath='{.items[*].status.podIP}'",
    "hauberk get pods --watch",
)
@click.argument("kind_names", metavar="KIND[,KIND]|KIND/NAME", shell_complete=completion_names.kind_or_name)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion_names.kind_or_name)
@namespace_option
@all_namespaces_option
@selector_option
@click.option("-w", "--watch", is_flag=True, help="Then go on and show every change.")
@output_option()
def get(
    *, kind_names: str, names: tuple[str, ...], namespace: str, all_namespaces: bool, selector: str | None, watch: bool, form: Format
) -> None:
    """Show objects."""
    if "/" in kind_names:
        kind_names, _, first = kind_names.partition("/")
        names = (first, *names)
    wanted = kinds.kinds_named(kind_names)
    if names and (len(wanted) > 1 or all_namespaces):
        raise click.UsageError("names go with one kind and one namespace")
    mesh = connection.mesh()
    where = None if all_namespaces else namespace
    if watch:
        if len(wanted) != 1 or form.name not in ("table", "wide", "json", "name"):
            raise click.UsageError("--watch shows one kind, as table, name or json")
        scope = where if wanted[0].namespaced else None
        _watch(mesh, wanted[0], names, {"namespace": scope, "labelSelector": selector}, form)
        return
    found = [(kind, _fetch(mesh, kind, names, where, selector)) for kind in wanted]
    _show(found, form, single=len(names) == 1, namespaces=all_namespaces, where=where)


def _fetch(mesh: Mesh, kind: Kind, names: tuple[str, ...], namespace: str | None, selector: str | None) -> list[Document]:
    scope = namespace if kind.namespaced else None
    if names:
        return [mesh.api("GET", connection.object_path(kind.plural, scope, name)) for name in names]
    listed = mesh.api("GET", connection.list_path(kind.plural, namespace=scope, labelSelector=selector))
    items: list[Document] = listed["items"]
    return sorted(items, key=lambda item: (str(views.get(item, "metadata", "namespace", default="")), item["metadata"]["name"]))


def _show(found: list[tuple[Kind, list[Document]]], form: Format, *, single: bool, namespaces: bool, where: str | None) -> None:
    documents = [document for _, listed in found for document in listed]
    if form.is_table:
        _show_tables(found, form, namespaces=namespaces, where=where)
    elif form.name == "name":
        for kind, listed in found:
            for document in listed:
                click.echo(f"{kind.name.lower()}/{document['metadata']['name']}")
    elif single:
        output.show_document(documents[0], form)
    else:
        output.show_document({"apiVersion": "v1", "kind": "List", "items": documents}, form)


def _show_tables(found: list[tuple[Kind, list[Document]]], form: Format, *, namespaces: bool, where: str | None) -> None:
    shown = [(kind, listed) for kind, listed in found if listed]
    if not shown:
        names = ", ".join(kind.plural for kind, _ in found)
        scoped = f" in namespace {where!r}" if where and any(kind.namespaced for kind, _ in found) else ""
        click.echo(f"no {names}{scoped}", err=True)
    for position, (kind, listed) in enumerate(shown):
        if position:
            click.echo()
        chosen = views.columns_of(kind.name, wide=form.wide, namespaces=namespaces and kind.namespaced)
        rows = views.rows(chosen, listed)
        if len(found) > 1:
            rows = [[f"{kind.name.lower()}/{document['metadata']['name']}" if column is views.NAME else cell
                     for column, cell in zip(chosen, row, strict=True)] for document, row in zip(listed, rows, strict=True)]  # fmt: skip
        output.show_rows([column.title for column in chosen], rows)


def _watch(mesh: Mesh, kind: Kind, names: tuple[str, ...], query: dict[str, str | None], form: Format) -> None:
    columns = views.columns_of(kind.name, wide=form.wide, namespaces=query["namespace"] is None and kind.namespaced)
    # Rows come one by one: widths grow with what was seen, so that a column seldom moves.
    widths = [max(len(column.title), 9) for column in columns]
    if form.is_table:
        _print_row([column.title for column in columns], widths)
    for event in mesh.api_lines(connection.list_path(kind.plural, watch="true", **query)):
        document: Any = event.get("object") or {}
        name = views.get(document, "metadata", "name")
        if event.get("type") not in ("ADDED", "MODIFIED", "DELETED") or (names and name not in names):
            continue
        if form.name == "json":
            click.echo(json.dumps(event, ensure_ascii=False))
        elif form.name == "name":
            click.echo(f"{kind.name.lower()}/{name}")
        else:
            row = [table.cell_of(cell).text for cell in views.rows(columns, [document])[0]]
            if event["type"] == "DELETED":
                row = ["Deleted" if column.title == "STATUS" else cell for column, cell in zip(columns, row, strict=True)]
            widths[:] = [max(width, len(cell)) for width, cell in zip(widths, row, strict=True)]
            _print_row(row, widths)
    raise Failure("the watch ended", "the control plane closed it", "run it again", Exit.UNREACHABLE)


def _print_row(row: list[str], widths: list[int]) -> None:
    click.echo("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
