"""The files that go with a mail: read from below one folder, and from nowhere else."""

import errno
import os
import stat
from collections.abc import Iterable
from mimetypes import MimeTypes
from pathlib import Path, PurePath

from dialerd.mail.parts import File
from dialerd.model.errors import BadText

__all__ = ["FolderAway", "check_path", "read_files"]

MB = 1_000_000

#: Python's own table, the same on every machine, with what people send and it does not know, or knows by an old name
#: (IANA's registry of media types).
KINDS = MimeTypes()
OFFICE = "application/vnd.openxmlformats-officedocument."
OPEN = "application/vnd.oasis.opendocument."
for ending, kind in {
    ".docx": f"{OFFICE}wordprocessingml.document", ".dotx": f"{OFFICE}wordprocessingml.template",
    ".xlsx": f"{OFFICE}spreadsheetml.sheet", ".xltx": f"{OFFICE}spreadsheetml.template",
    ".pptx": f"{OFFICE}presentationml.presentation", ".ppsx": f"{OFFICE}presentationml.slideshow",
    ".docm": "application/vnd.ms-word.document.macroEnabled.12",
    ".xlsm": "application/vnd.ms-excel.sheet.macroEnabled.12",
    ".odt": f"{OPEN}text", ".ods": f"{OPEN}spreadsheet", ".odp": f"{OPEN}presentation",
    ".rtf": "application/rtf", ".epub": "application/epub+zip", ".ics": "text/calendar", ".vcf": "text/vcard",
    ".md": "text/markdown", ".log": "text/plain", ".webp": "image/webp", ".7z": "application/x-7z-compressed",
    ".rar": "application/vnd.rar", ".gz": "application/gzip", ".tgz": "application/gzip", ".ogg": "audio/ogg",
    ".m4a": "audio/mp4", ".p7m": "application/pkcs7-mime", ".p7s": "application/pkcs7-signature",
}.items():  # fmt: skip
    KINDS.add_type(kind, ending)

#: What a mail program takes for something else inside a mail.
UNFIT = ("multipart/", "message/")


class FolderAway(OSError):
    """The campaign's folder of attachments is not there."""


def check_path(path: str) -> None:
    """Raise BadText where a path can lead out of the folder as it is written, or is no path."""
    if "\0" in path or "\n" in path or len(path) > 4096:
        raise BadText("an attachment's path holds characters that no path has, or too many", "bad text")
    if ".." in path.split("/"):
        raise BadText(f"an attachment's path has no ..: {path!r}", "bad text")


def read_files(folder: str, paths: Iterable[str], *, most_mb: float) -> list[File]:
    """Return the files at `paths`, which begin at the folder or are absolute. It blocks: call it in a thread.

    Raises:
        BadText: one is not there, is no file below the folder (through links, too), or all are too large together.
        FolderAway: the folder is not there.
        OSError: one cannot be read now.
    """
    root = os.path.realpath(folder)
    if not Path(root).is_dir():
        # Not mounted, perhaps: no reason to give up the message.
        raise FolderAway(errno.ENOENT, "it is not there")
    room = int(most_mb * MB)
    files = []
    for path in paths:
        content = _read(root, path, room)
        room -= len(content)
        if room < 0:
            raise BadText(
                f"the attachments are larger than {most_mb:g} MB together, by {path!r} at the latest", "too long"
            )
        name = Path(path).name
        files.append(File(name=name, kind=_kind(name), content=content))
    return files


def _read(root: str, path: str, room: int) -> bytes:
    """Return at most `room` + 1 bytes of the file."""
    check_path(path)
    try:
        fd = _open(root, path)
    except (FileNotFoundError, NotADirectoryError):
        raise BadText(f"there is no attachment {path!r}", "bad text") from None
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise BadText(f"the attachment {path!r} is no regular file", "bad text")
        return file.read(room + 1)


def _open(root: str, path: str) -> int:
    """Open what is below the root; links may lead about inside of it.

    The way is resolved first, and then walked without following any link, so that none can be slipped in meanwhile.
    """
    real = os.path.realpath(Path(root) / path)
    if real == root or os.path.commonpath([root, real]) != root:
        raise BadText(f"the attachment {path!r} is not below the campaign's folder", "bad text")
    steps = os.path.relpath(real, root).split("/")
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for step in steps[:-1]:
            fd, above = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd), fd
            os.close(above)
        # A device or a pipe is not even opened: that alone can do things.
        if not stat.S_ISREG(os.stat(steps[-1], dir_fd=fd, follow_symlinks=False).st_mode):
            raise BadText(f"the attachment {path!r} is no regular file", "bad text")
        return os.open(steps[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    finally:
        os.close(fd)


def _kind(name: str) -> str:
    # By the last ending: a .tar.gz is no tape, and a name that looks like a URL is none.
    kind = KINDS.types_map[True].get(PurePath(name).suffix.lower())
    return "application/octet-stream" if kind is None or kind.startswith(UNFIT) else kind
