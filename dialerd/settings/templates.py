"""The folder templates/: NAME.html and NAME.txt, read and checked with the rest of the configuration."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from dialerd.mail.templates import BadTemplate, compiled
from dialerd.model.campaign import TemplateSource
from dialerd.model.placeholders import Missing
from dialerd.settings.problems import Report
from dialerd.settings.sources import SourceError, read_text

__all__ = ["read_templates"]

#: A template's side is at most so large, in bytes: mail programs cut off what is longer than a tenth of it.
LARGEST = 1_000_000

SIDES = {".html": "html", ".txt": "text"}


def read_templates(folder: Path) -> tuple[Mapping[str, TemplateSource], list[Report]]:
    """Return the templates by name, those with mistakes too, and a report for each file that has one."""
    listing = Report(path=folder)
    try:
        # Editors leave hidden files beside the one they have open.
        paths = sorted(path for path in folder.iterdir() if path.suffix in SIDES and path.name[0] != ".")
    except OSError as error:
        if not isinstance(error, FileNotFoundError) or folder.is_symlink():
            listing.add((), error.strerror or type(error).__name__)
        return {}, [listing]
    reports = {path: Report(path=path) for path in paths}
    found: dict[str, dict[str, str]] = {}
    for path in paths:
        sides = found.setdefault(path.stem, {})
        try:
            sides[SIDES[path.suffix]] = read_text(path, LARGEST)
        except SourceError as error:
            reports[path].add((), str(error))
            sides[SIDES[path.suffix]] = ""
    templates = {name: TemplateSource(name=name, **sides) for name, sides in found.items()}
    for path in paths:
        source = templates[path.stem]
        alone = source.html is None or source.text is None
        try:
            # Each side by itself, so that a mistake is told with its file; alone, it must do for both.
            side = {SIDES[path.suffix]: found[path.stem][SIDES[path.suffix]]}
            beside = {} if alone or path.suffix == ".txt" else {"text": ""}
            compiled(TemplateSource(name=path.stem, **side, **beside), Missing.ERROR)
        except BadTemplate as error:
            reports[path].add((), str(error))
    return MappingProxyType(templates), [listing, *reports.values()]
