"""What all commands share: the configuration's folder, exit statuses, help."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from dialerd import __version__
from dialerd.cli import COMMANDS, main
from dialerd.store import Store
from tests.cli.calls import PROGRAM, call, configure, documented, refused
from tests.store.filled import migrated, repoed


def commands(group: click.Group, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    """Return every command below a group by its words."""
    found: dict[tuple[str, ...], click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        _, command, _ = group.resolve_command(context, [name])
        assert command is not None
        found[(*path, name)] = command
        if isinstance(command, click.Group):
            found |= commands(command, (*path, name))
    return found


ALL = commands(main)

# Where the configuration is


@pytest.mark.parametrize(
    "args",
    [
        ("--config", "{}", "campaigns", "pause", "Ventas->"),
        ("campaigns", "--config", "{}", "pause", "Ventas->"),
        ("campaigns", "pause", "--config", "{}", "Ventas->"),
        ("campaigns", "pause", "Ventas->", "--config", "{}"),
        ("--config", "/nowhere", "campaigns", "pause", "Ventas->", "--config", "{}"),
    ],
)
def test_config_stands_anywhere(tmp_path: Path, args: tuple[str, ...]) -> None:
    """--config is taken before and after the command and between its words; the last one counts."""
    config = configure(tmp_path)

    result = call(*(arg.format(config) for arg in args))

    assert (0, "Ventas-> is paused.\n") == (result.exit_code, result.stdout)


def test_the_environment_names_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DIALERD_CONFIG counts where no --config is given, ./config where neither is."""
    configure(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert 0 == call("check", "--offline").exit_code

    monkeypatch.setenv("DIALERD_CONFIG", str(tmp_path / "elsewhere"))
    assert 2 == call("check", "--offline").exit_code
    assert 0 == call("check", "--offline", "--config", "config").exit_code

    monkeypatch.setenv("DIALERD_CONFIG", "")
    assert 0 == call("check", "--offline").exit_code


# How a command ends


def test_every_problem_is_shown(tmp_path: Path) -> None:
    """A wrong configuration ends with 2, and with a line for each thing wrong in any of its files."""
    config = configure(tmp_path, main_file="nonsense = 1\n", Broken="per_second = -1\nbogus = 2\n")

    result = call("status", config=config)

    assert 2 == result.exit_code
    lines = result.stderr.splitlines()
    assert all(line.startswith("dialerd: ") for line in lines)
    assert [1, 1, 1] == [sum(f"{key}: " in line for line in lines) for key in ("nonsense", "per_second", "bogus")]


def test_a_missing_configuration_is_a_wrong_one(tmp_path: Path) -> None:
    """A folder without dialerd.toml ends with 2 and is named."""
    assert "dialerd.toml" in refused("status", config=tmp_path, status=2)


@pytest.mark.parametrize(
    "args",
    [
        ("nonsense",),
        ("--nonsense",),
        ("send", "a", "b", "-5%"),
        ("status", "--nonsense"),
        ("send", "a"),
        ("send", "a", "b", "c", "--priority", "0"),
        ("spool",),
    ],
)
def test_wrong_usage_ends_with_2(args: tuple[str, ...]) -> None:
    """A command that does not exist, or is called wrongly, ends with 2 and says where to look."""
    result = call(*args)

    assert 2 == result.exit_code
    assert ("put `--` before it" in result.stderr) == ("-5%" in args)
    if args != ("spool",):  # a group alone shows its help
        assert re.fullmatch(r"dialerd: [^\n]*\(see `dialerd( \w+)? --help`\)\n", result.stderr)


def test_arguments_that_are_no_text_are_refused(tmp_path: Path, sqlite_url: str) -> None:
    """Bytes that are no UTF-8 never reach the database; a file may be called like that."""
    config = configure(tmp_path, url=sqlite_url)
    broken = os.fsdecode(b"a\xff")
    for args in (
        ("spool", "list", "--base", broken),
        ("blacklist", "add", "098344484", "--reason", broken),
        ("uploads", broken),
        ("repo", "export", "--campaign", broken),
    ):
        assert "is not UTF-8" in refused(*args, config=config, status=2)
    (tmp_path / broken).write_text("Ventas->;098344484;x;1\n")
    assert "Base a\ufffd: 1 accepted" in call("upload", tmp_path / broken, config=config).stdout


def test_a_database_that_is_down_ends_with_75(tmp_path: Path) -> None:
    """Where the database does not answer, trying again may help."""
    config = configure(tmp_path, url="postgresql://nobody@127.0.0.1:1/nothing")

    assert "database" in refused("status", config=config, status=75)


def test_a_database_behind_is_refused_where_migration_is_off(tmp_path: Path, bare_database_url: str) -> None:
    """With `migrate = false` only `dialerd migrate` changes the tables."""
    config = configure(tmp_path, main_file=f'[database]\nurl = "{bare_database_url}"\nmigrate = false\n')

    assert "run `dialerd migrate`" in refused("status", config=config)

    assert "The database is at this version now.\n" == call("migrate", config=config).stdout
    assert "The database was at this version already.\n" == call("migrate", config=config).stdout
    assert {"changed": False} == documented("migrate", config=config)
    assert 0 == call("status", config=config).exit_code


def test_an_unusable_folder_is_named(tmp_path: Path) -> None:
    """A file that cannot be read or made is one line, not a traceback."""
    (tmp_path / "taken").write_text("")

    assert refused("init", tmp_path / "taken" / "config").endswith("Not a directory")


def test_interrupted_ends_with_130(tmp_path: Path) -> None:
    """Ctrl-C ends a command at once, without a traceback."""
    config = configure(tmp_path)
    with subprocess.Popen(
        [*PROGRAM, "status", "--watch", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell without job control starts what it puts into the background with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        assert b"Campaigns\n" == process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)

    assert (130, b"") == (process.returncode, errors)


def test_a_closed_pipe_is_no_error_to_talk_about(tmp_path: Path, sqlite_url: str) -> None:
    """`dialerd repo export | head` ends quietly when head has seen enough."""
    with migrated(sqlite_url) as store:
        repoed(store, *({"data": "x" * 50_000} for _ in range(20)))
    config = configure(tmp_path, url=sqlite_url)
    with subprocess.Popen(
        [*PROGRAM, "repo", "export", "--config", str(config)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"id,campaign,")
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
        process.wait(30)

    assert b"" == errors


@pytest.mark.parametrize(("redirected", "ending"), [("<&- >&- 2>&-", (0, "")), (">/dev/full", (1, None))])
def test_output_that_goes_nowhere(tmp_path: Path, redirected: str, ending: tuple[int, str | None]) -> None:
    """Closed standard streams disturb nothing, least of all the files that are opened next; a full disk is one line."""
    command = shlex.join([*PROGRAM, "send", "Ventas->", "098344484", "x", "--config", str(configure(tmp_path))])

    done = subprocess.run(["sh", "-c", f"{command} {redirected}"], capture_output=True, text=True, check=False)

    status, errors = ending
    line = "dialerd: the output cannot be written: No space left on device\n"
    assert (status, line if errors is None else errors) == (done.returncode, done.stderr)
    assert 1 == len(documented("spool", "list", config=tmp_path / "config"))


@pytest.mark.parametrize("words", [["campaigns"], ["campaigns", "--json"]])
def test_an_output_that_is_not_utf8(tmp_path: Path, sqlite_url: str, words: list[str]) -> None:
    """Where stdout is Latin-1, what it cannot show is escaped; JSON is right in any encoding."""
    config = configure(tmp_path, url=sqlite_url)
    ventas = config / "campaigns" / "ventas.toml"
    ventas.write_text(ventas.read_text().replace("Ventas->", "ñ→日本"))
    done = subprocess.run(
        [*PROGRAM, *words, "--config", str(config)],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"}, capture_output=True, check=False,
    )  # fmt: skip

    assert (0, b"") == (done.returncode, done.stderr)
    if "--json" in words:
        assert "ñ→日本" in json.loads(done.stdout)["campaigns"]
    else:
        assert "\nñ\\u2192\\u65e5\\u672c " in done.stdout.decode("latin-1")


def test_a_bug_shows_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody has foreseen is not hidden behind a line: it is raised, and ends with 1."""
    monkeypatch.setattr("dialerd.store.pause.paused", lambda _connection: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        call("campaigns", config=configure(tmp_path))


def test_a_newer_database_is_refused(tmp_path: Path, bare_sqlite_url: str) -> None:
    """An old dialerd does not work on tables it does not know."""
    store = Store(bare_sqlite_url, threads=1)
    store.transact_here(lambda c: c.exec_driver_sql("CREATE TABLE alembic_version (version_num text)"))
    store.transact_here(lambda c: c.exec_driver_sql("INSERT INTO alembic_version VALUES ('9999')"))
    store.close()

    assert "newer dialerd" in refused("status", config=configure(tmp_path, url=bare_sqlite_url))


# Help


def test_version() -> None:
    """--version prints the version."""
    assert f"dialerd, version {__version__}\n" == call("--version").stdout


def test_help_names_every_command_in_order() -> None:
    """`dialerd --help` shows each command with the first line of its own help."""
    shown = call("--help").stdout

    assert sorted(places := [shown.index(f"\n  {name} ") for name in COMMANDS]) == places
    groups = [words for words, command in ALL.items() if isinstance(command, click.Group)]
    assert "..." not in "".join(line for words in groups for line in call(*words, "--help").stdout.splitlines()[2:])
    for name, (_, line) in COMMANDS.items():
        assert line == (ALL[name,].help or "").partition("\n")[0], name
        assert line in shown


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_reads_well(words: tuple[str, ...]) -> None:
    """Each help fits 80 columns, says in a sentence what one gets, with an example; all that print data take --json."""
    result = call(*words, "--help")

    assert 0 == result.exit_code
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    first = (ALL[words].help or "").partition("\n")[0]
    assert re.fullmatch(r"[A-Z].*\.", first)
    assert "--config DIR" in result.stdout
    assert re.search(rf"Examples?:\n +dialerd {words[0]}", result.stdout)
    if not isinstance(ALL[words], click.Group) and words not in {("api",), ("completion",)}:
        assert "--json" in result.stdout
    for option in ALL[words].params:
        if isinstance(option, click.Option):
            assert option.help, option.name


def test_help_is_quick(tmp_path: Path) -> None:
    """Help, shell completion and wrong usage load neither the database's libraries nor the engine's."""
    looking = (
        "import sys, dialerd.cli, click\n"
        "heavy = {'sqlalchemy', 'alembic', 'pydantic', 'phonenumbers', 'structlog', 'rich', 'asyncio'}\n"
        "try: dialerd.cli.main(prog_name='dialerd')\n"
        "finally: print(sorted(heavy & sys.modules.keys()), file=sys.stderr)"
    )
    asking = {**os.environ, "_DIALERD_COMPLETE": "bash_complete", "DIALERD_CONFIG": str(configure(tmp_path))}
    completing = {**asking, "COMP_WORDS": "dialerd campaigns pause V", "COMP_CWORD": "3"}
    for args, environment, shown in (
        (["--help"], None, "schedule"),
        (["spool", "settle", "--help"], None, "--failed"),
        ([], completing, "plain,Ventas->"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", looking, *args], capture_output=True, text=True, env=environment, check=True
        )
        assert shown in done.stdout
        assert "[]\n" == done.stderr


def test_no_command_is_slow_to_explain_itself() -> None:
    """No command's module needs the engine to say what it takes: see dialerd/cli/later.py."""
    looking = (
        "import sys, importlib\n"
        "from dialerd.cli import COMMANDS\n"
        "heavy = {'sqlalchemy', 'alembic', 'pydantic', 'structlog', 'rich', 'asyncio'}\n"
        "for module in sorted({module for module, _ in COMMANDS.values()}):\n"
        "    importlib.import_module(f'dialerd.cli.{module}')\n"
        "    if heavy & sys.modules.keys(): sys.exit(f'{module} imports {sorted(heavy & sys.modules.keys())}')\n"
    )
    done = subprocess.run([sys.executable, "-c", looking], capture_output=True, text=True, check=False)
    assert "" == done.stderr


def test_status_is_complete_without_a_daemon(tmp_path: Path) -> None:
    """A fresh folder needs no preparation: the first command makes the database."""
    assert "open" == documented("status", config=configure(tmp_path))["campaigns"]["Ventas->"]["state"]
