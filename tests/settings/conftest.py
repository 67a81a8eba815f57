"""Configurations written for one test."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dialerd.model.errors import ConfigError
from dialerd.settings import Settings, load

Write = Callable[..., Path]
Problems = Callable[..., list[str]]

MAIN = """
[providers.out]
driver = "file"
path = "out.jsonl"
[providers.smsc]
driver = "smpp"
host = "smsc.example"
system_id = "us"
[providers.gateway]
driver = "http"
url = "https://gw.example/send"
[providers.mail]
driver = "smtp"
host = "mail.example"
"""
SMS = 'name = "Ventas->"\nchannel = "sms"\nprovider = "out"\n'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a configuration and returns its folder; a campaign goes by its file's stem."""

    def write(main: str = MAIN, **campaigns: str) -> Path:
        folder = tmp_path / "config"
        (folder / "campaigns").mkdir(parents=True, exist_ok=True)
        (folder / "dialerd.toml").write_text(main, encoding="utf-8")
        for stem, text in campaigns.items():
            (folder / "campaigns" / f"{stem}.toml").write_text(text, encoding="utf-8")
        return folder

    return write


@pytest.fixture
def read(write: Write) -> Callable[..., Settings]:
    """Return a function that writes a configuration and loads it."""

    def read(main: str = MAIN, environ: Mapping[str, str] | None = None, **campaigns: str) -> Settings:
        return load(write(main, **campaigns), environ=environ or {})

    return read


@pytest.fixture
def problems(write: Write) -> Problems:
    """Return a function that writes a wrong configuration and returns its problems, paths within the folder."""

    def problems(main: str = MAIN, environ: Mapping[str, str] | None = None, **campaigns: str) -> list[str]:
        folder = write(main, **campaigns)
        with pytest.raises(ConfigError) as caught:
            load(folder, environ=environ or {})
        return [line.replace(f"{folder}/", "") for line in caught.value.problems]

    return problems


@pytest.fixture
def sms() -> str:
    """Return the smallest SMS campaign."""
    return SMS


@pytest.fixture
def main() -> str:
    """Return a dialerd.toml with one provider of most kinds."""
    return MAIN
