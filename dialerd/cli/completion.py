"""Shell completion: what the shells ask while somebody types, and `dialerd completion`, which teaches them to.

Answered while a person waits for the key: the files are only looked into for names, not checked.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import (
    BashComplete,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from dialerd.cli.options import config_dir, config_option, examples

__all__ = ["VARIABLE", "campaign_names", "completion"]

#: By this variable a shell's script asks; click's usual name for a program called dialerd.
VARIABLE = "_DIALERD_COMPLETE"


class _Bash(BashComplete):
    """click's, but what is filled in is quoted: `Ventas->` as it stands would send the output into a file."""

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' response line value
    response=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete $1)
    while read -r line; do
        value=${line#*,}
        case ${line%%%%,*} in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            plain)
                # Behind an opening quote bash adds the closing one itself.
                case ${COMP_WORDS[COMP_CWORD]} in
                    [\\'\\"]*) ;;
                    *) printf -v value %%q "$value" ;;
                esac
                COMPREPLY+=("$value") ;;
        esac
    done <<< "$response"
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is asked for, and it; bash makes three words of --option=value."""
        words, incomplete = super().get_completion_args()
        joined: list[str] = []
        for word in words:
            if joined and (word == "=" or joined[-1].endswith("=")) and joined[-1].startswith("--"):
                joined[-1] += word
            else:
                joined.append(word)
        return joined, incomplete


class _Fish(FishComplete):
    """click's, but a comma within a name is no end of it."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split --max 1 ","')


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": ZshComplete, "fish": _Fish}
for _shell, _class in SHELLS.items():
    add_completion_class(_class, _shell)


def campaign_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the campaigns whose names begin so; in another case if there is no other."""
    names = list(_names(config_dir(context).expanduser() / "campaigns"))
    exact = [name for name in names if name.startswith(incomplete)]
    return exact or [name for name in names if name.casefold().startswith(incomplete.casefold())]


def _names(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.toml")):
        try:
            name = tomllib.loads(path.read_text(encoding="utf-8")).get("name")
        except (OSError, ValueError):
            continue
        if isinstance(name, str):
            yield name


@click.command()
@examples(
    "dialerd completion fish > ~/.config/fish/completions/dialerd.fish",
    "echo 'eval \"$(dialerd completion bash)\"' >> ~/.bashrc",
    "echo 'eval \"$(dialerd completion zsh)\"' >> ~/.zshrc",
)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@config_option
def completion(shell: str) -> None:
    """Teach a shell to complete commands and campaigns.

    Prints what the shell has to read when it starts. In zsh, `autoload -Uz compinit && compinit` must come before it.
    """
    root = click.get_current_context().find_root()
    # Not through the class's own source(): bash's would run a bash to ask for its version.
    asked = SHELLS[shell](root.command, {}, "dialerd", VARIABLE)
    click.echo(asked.source_template % asked.source_vars(), nl=False)
