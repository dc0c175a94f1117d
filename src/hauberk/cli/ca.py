"""`hauberk ca`: the certificate authority of the mesh."""

from __future__ import annotations

import click

from hauberk.cli.verbs import Entry, VerbGroup


@click.command(
    "ca",
    cls=VerbGroup,
    entries=(
        Entry("show", "hauberk.cli.ca_show:show", "Show the authorities and what depends on them.", "Commands"),
        Entry("rotate", "hauberk.cli.ca_rotate:rotate", "Exchange the issuing key, or the root.", "Commands"),
        Entry("issue", "hauberk.cli.ca_issue:issue", "Issue a certificate to a program outside the mesh.", "Commands"),
        Entry("bundle", "hauberk.cli.ca_bundle:bundle", "Print whom others are to believe.", "Commands"),
        Entry("federate", "hauberk.cli.ca_federate:federate", "Authenticate members of another trust domain.", "Commands"),
        Entry("import", "hauberk.cli.ca_import:import_", "Become an intermediate of the company's authority.", "Commands"),
        Entry("nodes", "hauberk.cli.ca_nodes:nodes", "The other machines of the mesh; shut one out.", "Commands"),
        Entry("revoke", "hauberk.cli.ca_revoke:revoke", "Believe a pod, a certificate or an identity no more.", "Commands"),
        Entry("token", "hauberk.cli.ca_token:token", "Let another machine join the mesh.", "Commands"),
    ),
    examples=("hauberk ca show", "hauberk ca rotate --root", "hauberk ca import /etc/cacerts", "hauberk ca revoke web-7d9f4b -n shop"),
)
def ca() -> None:
    """The certificate authority of the mesh: who may call itself what, and for how long."""
