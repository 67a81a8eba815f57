"""The command line as tests call it: in this process, as a process of its own, or on a terminal."""

import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
import threading
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Literal

import pytest
from click.testing import CliRunner, Result

from dialerd.cli import main

__all__ = ["ANSI", "PROGRAM", "call", "configure", "documented", "on_terminal", "refused"]

PROGRAM = [sys.executable, "-c", "from dialerd.cli import main; main(prog_name='dialerd')"]

CAMPAIGN = """\
name = "{name}"
channel = "{channel}"
provider = "outbox"
timezone = "America/Montevideo"
region = "UY"
"""

EMAIL = '[email]\nfrom = "Ventas <ventas@example.com>"\n'

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def configure(folder: Path, *, url: str | None = None, main_file: str = "", **campaigns: str) -> Path:
    """Write a configuration with one SMS and one e-mail campaign and others as NAME="more lines"; return it."""
    config = folder / "config"
    (config / "campaigns").mkdir(parents=True, exist_ok=True)
    database = f"[database]\nurl = {json.dumps(url)}\n" if url and "[database]" not in main_file else ""
    outbox = '[providers.outbox]\ndriver = "file"\npath = "outbox.jsonl"\n'
    daemon = f"[daemon]\nstate_dir = {json.dumps(str(folder / 'var'))}\n"
    (config / "dialerd.toml").write_text(f"{daemon}{database}{outbox}{main_file}")
    for name, more in {"Ventas->": "", **campaigns}.items():
        text = CAMPAIGN.format(name=name, channel="sms") + more
        (config / "campaigns" / f"{name.lower().strip('->')}.toml").write_text(text)
    mail = CAMPAIGN.format(name="Mail", channel="email").replace('region = "UY"\n', "")
    (config / "campaigns" / "mail.toml").write_text(mail + EMAIL)
    return config


def call(*args: object, config: Path | None = None, stdin: str | None = None) -> Result:
    """Run a command in this process; what it did not expect is raised."""
    before = ["--config", str(config)] if config else []
    words = [*before, *map(str, args)]
    return CliRunner().invoke(main, words, input=stdin, catch_exceptions=False, prog_name="dialerd")


def documented(*args: object, config: Path | None = None) -> Any:
    """Run a command that goes well and return the JSON document it prints."""
    result = call(*args, "--json", config=config)
    assert (0, "") == (result.exit_code, result.stderr)
    return json.loads(result.stdout)


def refused(*args: object, config: Path | None = None, status: int = 1) -> str:
    """Run a command that ends with `status`, and return the one line that says why."""
    result = call(*args, config=config)
    assert status == result.exit_code, result.output
    assert 1 == result.stderr.count("\n")
    assert result.stderr.startswith("dialerd: ")
    return result.stderr.removeprefix("dialerd: ").rstrip()


def on_terminal(
    *args: object, columns: int = 80, stream: Literal["stdout", "stderr"] = "stdout", colours: bool = False
) -> list[str]:
    """Run a command in this process with a stream on a terminal so wide, and return the lines it shows.

    Without `colours`, whatever else a terminal does but showing characters is left out.
    """
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    shown = bytearray()
    reader = threading.Thread(target=_read_all, args=(parent, shown))
    reader.start()
    # Rich asks this process's own terminal for its width, where there is one.
    environment = {"TERM": "xterm-256color", "COLUMNS": str(columns)}
    with (
        os.fdopen(child, "w", encoding="utf-8") as terminal,
        redirect_stdout(terminal) if stream == "stdout" else redirect_stderr(terminal),
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in ("LINES", "NO_COLOR", "FORCE_COLOR"):
            patch.delenv(name, raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        main([*map(str, args)], prog_name="dialerd", standalone_mode=False)
        terminal.flush()
    reader.join(60)
    os.close(parent)
    text = shown.decode() if colours else ANSI.sub("", shown.decode())
    return text.replace("\r\n", "\n").splitlines()


def _read_all(parent: int, shown: bytearray) -> None:
    try:
        while chunk := os.read(parent, 65536):
            shown += chunk
    except OSError:  # Linux says EIO at a terminal's end
        pass
