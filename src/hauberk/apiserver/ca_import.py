"""Plugging in a company's authority over the API: names of files go in, never a key."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hauberk.api.problem import problem
from hauberk.apiserver.body import Body, read_request
from hauberk.apiserver.ca_revocations import called_by
from hauberk.apiserver.mesh import absent_part
from hauberk.apiserver.parts import Importer, ImportRefused
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.state import parts

PATH = "/v1/ca/import"


class ImportRequest(Body):
    """Absolute paths, as the control plane's machine knows them: either `directory`, or `certificates` and `key`."""

    directory: str = ""
    certificates: str = ""
    key: str = ""
    roots: str = ""
    passphrase: str = ""  # the name of the file that holds it
    dry_run: bool = False

    def named(self) -> Mapping[str, str]:
        """The files that are named."""
        return {name: str(value) for name, value in self if isinstance(value, str) and value}


async def get_import(request: Request) -> Response:
    """GET /v1/ca/import: which files are followed, and why a change of them was not taken over."""
    return JSONResponse(_importer(request).imported())


async def post_import(request: Request) -> Response:
    """POST /v1/ca/import: the authority is taken (its exchange of the root goes on after the answer), or every fault is told."""
    importer, asked = _importer(request), await read_request(request, ImportRequest)
    files = asked.named()
    single = bool(asked.certificates or asked.key or asked.roots)
    if bool(asked.directory) == single or (single and not (asked.certificates and asked.key)):
        raise _invalid("name either a directory, or certificates and a key")
    if relative := sorted(name for name, path in files.items() if not path.startswith("/")):
        raise _invalid(f"{', '.join(relative)}: not an absolute path")
    try:
        done: Mapping[str, Any] = await importer.import_ca(files, dry_run=asked.dry_run, by=called_by(request))
    except ImportRefused as refused:
        faults = (problem("HBK0720", f"{fault.where}: {fault.reason}", remedy=fault.remedy) for fault in refused.faults)
        raise Refused(refused.status, *faults) from refused
    return JSONResponse(done)


ROUTES = (Route(PATH, get_import, methods=["GET"]), Route(PATH, post_import, methods=["POST"]))


def _importer(request: Request) -> Importer:
    found = parts(request).importer
    if found is None:
        raise absent_part("the import of an authority")
    return found


def _invalid(why: str) -> Refused:
    return Refused(422, problem("HBK0505", why, remedy="see the API's reference for the fields of this request"))
