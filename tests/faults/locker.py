"""A process of somebody else's that keeps a SQLite database locked."""

import sqlite3
import time

__all__ = ["lock"]


def lock(path: str, seconds: str) -> None:
    """Hold the lock for so long, and say from when on."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    print("locked", flush=True)
    time.sleep(float(seconds))
    connection.execute("COMMIT")
