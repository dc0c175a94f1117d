"""`hauberk completion SHELL`: the script a shell needs, and the answers it asks for while one types."""

from __future__ import annotations

import os

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from hauberk.cli.verbs import verb

_VARIABLE = "_HAUBERK_COMPLETE"
_SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@verb(
    "completion",
    'eval "$(hauberk completion bash)"          # in ~/.bashrc',
    'eval "$(hauberk completion zsh)"           # in ~/.zshrc',
    "hauberk completion fish > ~/.config/fish/completions/hauberk.fish",
)
@click.argument("shell", type=click.Choice(sorted(_SHELLS)))
def completion(shell: str) -> None:
    """Print the completion script for a shell: commands, options, kinds, and the names of what the mesh holds."""
    root = click.get_current_context().find_root().command
    if shell == "bash":
        # Not BashComplete.source(): it starts a bash to ask its version, and there may be none where the script is made.
        script = BashComplete.source_template % BashComplete(root, {}, "hauberk", _VARIABLE).source_vars()
    else:
        script = _SHELLS[shell](root, {}, "hauberk", _VARIABLE).source()
    click.echo(script)


def answer(root: click.Command) -> int:
    """Answer a shell that asks what may come next; `_HAUBERK_COMPLETE` is `bash_complete`, `zsh_complete` or `fish_complete`."""
    instruction, _, _ = os.environ[_VARIABLE].partition("_complete")
    shell = _SHELLS.get(instruction)
    if shell is None:
        return 1
    click.echo(shell(root, {}, "hauberk", _VARIABLE).complete())
    return 0
