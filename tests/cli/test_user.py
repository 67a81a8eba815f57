"""`dialerd user`: who may use the API."""

from pathlib import Path

from tests.cli.calls import call, configure, documented, refused


def test_users_come_and_go(tmp_path: Path) -> None:
    """A user is added with the password on stdin, listed with the names of keys, and removed; secrets are not shown."""
    config = configure(tmp_path)
    added = call("user", "add", "ana", config=config, stdin="correct horse\n")
    assert (0, "ana may use the API.\n") == (added.exit_code, added.stdout)
    assert "new password" in call("user", "add", "ana", config=config, stdin="another horse\n").stdout

    made = documented("user", "key", "ana", "crm", config=config)
    assert made["secret"].startswith("dialerd_")
    (one,) = documented("user", "list", config=config)
    assert ("ana", ["crm"]) == (one["name"], one["keys"])
    assert made["secret"] not in str(one)

    assert 0 == call("user", "key", "ana", "crm", "--end", config=config).exit_code
    assert "no key" in refused("user", "key", "ana", "crm", "--end", config=config)
    assert 0 == call("user", "remove", "ana", config=config).exit_code
    assert [] == documented("user", "list", config=config)
    assert "no user" in refused("user", "remove", "ana", config=config)
    assert "no user" in refused("user", "key", "ana", "crm", config=config)


def test_passwords_and_names_that_are_refused(tmp_path: Path) -> None:
    """A short password, or a name that a token could not hold, is refused in one line."""
    config = configure(tmp_path)
    for name, password, why in (("ana", "short", "8 characters"), ("a:b", "correct horse", "colon"), ("ana", "", "8")):
        result = call("user", "add", name, config=config, stdin=f"{password}\n")
        assert 1 == result.exit_code
        assert why in result.stderr
    assert [] == documented("user", "list", config=config)
