"""`dialerd blacklist`: entries in canonical form, and files of them in and out."""

import json
from pathlib import Path

import pytest

from dialerd.cli import blacklist as command
from tests.cli.calls import call, configure, documented, refused

AR = 'region = "AR"\n'


@pytest.fixture
def config(tmp_path: Path, sqlite_url: str) -> Path:
    """One SMS campaign of UY, and one of e-mail."""
    return configure(tmp_path, url=sqlite_url)


def listed(config: Path, *args: object) -> list[tuple[object, ...]]:
    return [
        (one["channel"], one["value"], one["campaign"], one["reason"], one["expires"])
        for one in documented("blacklist", "list", *args, config=config)
    ]


def test_number_for_all_campaigns_is_canonical(config: Path) -> None:
    """098… for all campaigns blocks 59898…, where all of them are in UY; adding it again renews its reason."""
    result = call("blacklist", "add", "098 344 484", config=config)
    call("blacklist", "add", "+59898344484", "--reason", "STOP", "--expires", "2030-01-01 00:00:00", config=config)

    assert result.stdout == "59898344484 is blacklisted for all campaigns.\n"
    assert [("sms", "59898344484", None, "STOP", "2030-01-01T00:00:00Z")] == listed(config)


def test_programs_read_what_was_done(config: Path) -> None:
    """add, remove and export print JSON for those who ask for it: export an object a line."""
    entry = {"channel": "sms", "value": "59898344484", "campaign": None}
    assert [entry] == documented("blacklist", "add", "098344484", "--reason", "ñ", config=config)

    (line,) = call("blacklist", "export", "--json", config=config).stdout.splitlines()

    assert entry | {"reason": "ñ", "expires": None} == {
        name: json.loads(line)[name] for name in (*entry, "reason", "expires")
    }
    assert [entry] == documented("blacklist", "remove", "+59898344484", config=config)


def test_added_number_is_refused_at_the_door(config: Path) -> None:
    """From then on nobody sends to it, however it is written."""
    call("blacklist", "add", "098344484", config=config)

    assert "blacklisted for all campaigns" in refused("send", "Ventas->", "+598 98 344 484", "x", config=config)


def test_address_tells_its_channel(config: Path) -> None:
    """A value with an @ is an e-mail address, kept in lower case."""
    call("blacklist", "add", "Ana@Example.com", "--campaign", "Mail", "--expires", "2030-01-01", config=config)

    # To the end of that day in Montevideo.
    assert [("email", "ana@example.com", "Mail", None, "2030-01-02T03:00:00Z")] == listed(config)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("12",), "number"),
        (("098344484", "--campaign", "Nobody"), "unknown campaign"),
        (("098344484", "--campaign", "Mail"), "address"),
        (("ana@example.com", "--channel", "sms"), "number"),
        (("098344484", "--expires", "soon"), "--expires"),
    ],
)
def test_unusable_entry_is_refused(config: Path, args: tuple[str, ...], message: str) -> None:
    """What could never match anything is refused with the reason."""
    assert message in refused("blacklist", "add", *args, config=config)
    assert [] == listed(config)


def test_remove_takes_out_exactly_that_scope(config: Path) -> None:
    """An entry is removed however the number is written; that of a campaign stays when the one for all goes."""
    call("blacklist", "add", "098344484", config=config)
    call("blacklist", "add", "098344484", "--campaign", "Ventas->", config=config)

    result = call("blacklist", "remove", "+59898344484", config=config)

    assert result.stdout == "59898344484 is no longer blacklisted for all campaigns.\n"
    assert [("sms", "59898344484", "Ventas->", None, None)] == listed(config)
    assert "is not blacklisted for all campaigns" in refused("blacklist", "remove", "098344484", config=config)


def test_listed_entry_can_always_be_removed(tmp_path: Path, sqlite_url: str) -> None:
    """An entry older than the configuration is removed as it is listed."""
    config = configure(tmp_path, url=sqlite_url, Old="")
    call("blacklist", "add", "098344484", "--campaign", "Old", config=config)
    (config / "campaigns" / "old.toml").unlink()

    assert call("blacklist", "remove", "59898344484", "--campaign", "Old", config=config).exit_code == 0
    assert [] == listed(config)


def test_list_for_people(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries come in their order, page by page; channel and campaign choose among them."""
    monkeypatch.setattr(command, "PAGE", 2)
    for n in range(5):
        call("blacklist", "add", f"09834448{n}", "--reason", f"r{n}", config=config)
    call("blacklist", "add", "a@b.cc", config=config)

    result = call("blacklist", "list", config=config)

    assert [f"r{n}" for n in range(5)] == [
        line.split()[-1] for line in result.stdout.splitlines() if line.startswith("sms")
    ]
    assert [("email", "a@b.cc", None, None, None)] == listed(config, "--channel", "email")
    assert [] == listed(config, "--campaign", "Mail")
    assert len(listed(config)) == 6


def test_export_imports_the_same(tmp_path: Path, config: Path, sqlite_url: str) -> None:
    """What export prints, import brings in unchanged, into another database as well."""
    call("blacklist", "add", "098344484", "--reason", 'said "stop; now"', "--expires", "2030-01-01", config=config)
    call("blacklist", "add", "+14155552671", config=config)
    call("blacklist", "add", "a@b.cc", "--campaign", "Mail", config=config)
    exported = tmp_path / "exported.csv"
    exported.write_text(call("blacklist", "export", config=config).stdout)
    before = listed(config)

    other = configure(tmp_path / "other", url=f"{sqlite_url}.other")
    result = call("blacklist", "import", exported, config=other)

    assert "3 added, 0 rejected." in result.stdout
    assert before == listed(other)


def test_import_says_which_lines_are_wrong(tmp_path: Path, config: Path) -> None:
    """Bad lines are told with their numbers, the others count; a file of bad ones only fails."""
    path = tmp_path / "black.csv"
    path.write_text("098344484\n12\n;\n098344485;Nobody\n")

    printed = documented("blacklist", "import", path, config=config)

    assert (1, 3, [2, 3, 4]) == (printed["added"], printed["rejected"], [bad["line"] for bad in printed["errors"]])
    path.write_text("\n".join(str(n) for n in range(30)))
    failed = call("blacklist", "import", path, config=config)
    assert failed.exit_code == 1
    assert failed.stdout.count("  line ") == 20
    assert "… and 10 more" in failed.stdout
    path.write_bytes(b"\x1f\x8b")
    assert "gzip" in refused("blacklist", "import", path, config=config)


def test_many_regions_ask_for_the_country_code(tmp_path: Path, sqlite_url: str) -> None:
    """A national number that is somebody's in two regions is refused, with what to write instead."""
    config = configure(tmp_path, url=sqlite_url)
    for name, region in (("es", "ES"), ("pe", "PE")):
        text = (config / "campaigns" / "ventas.toml").read_text()
        text = text.replace("Ventas->", name).replace('"UY"', f'"{region}"')
        (config / "campaigns" / f"{name}.toml").write_text(text)

    assert "with + and its country code" in refused("blacklist", "add", "912345678", config=config)
    assert call("blacklist", "add", "+34912345678", config=config).exit_code == 0
