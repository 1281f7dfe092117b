"""Locks on files that end with their process, however it ends: filelock's, without waiting."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

# Errors of file systems and Pythons without such locks.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
_PATIENCE = 0.2  # seconds, for a lock file that its last holder is just removing


@contextlib.contextmanager
def hold_lock(path: Path) -> Iterator[bool]:
    """Hold a lock file until the end of the block, or of the process; forked children do not.

    The file stays, unless the holder removes it while it is held.

    Args:
        path: The lock file, of no other use; missing folders above it are made.

    Yields:
        Whether it is locked. False on file systems that have no such locks.

    Raises:
        BlockingIOError: If another holds it.
        OSError: If it cannot be written.
    """
    lock = FileLock(path, fallback_to_soft=False)
    locked = True
    try:
        lock.acquire(timeout=_PATIENCE, poll_interval=_PATIENCE / 10)
    except Timeout as error:
        raise BlockingIOError(errno.EAGAIN, f"{path} is locked by another") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        locked = False
    try:
        yield locked
    finally:
        if lock.is_locked:  # not in a child that was forked meanwhile
            lock.release()


def try_lock(descriptor: int) -> bool:
    """Lock an open file for this process alone, even under another name, without waiting.

    The lock goes when the file is closed or the process ends. Processes forked meanwhile hold it,
    too, as long as they keep the descriptor.

    Args:
        descriptor: Descriptor of a file that is open for writing: NFS locks no others.

    Returns:
        Whether it is locked now. False where there are no such locks.

    Raises:
        BlockingIOError: If another holds the lock.
    """
    try:
        locked = lock_descriptor(descriptor, blocking=False)
    except OSError:
        return False
    if not locked:
        raise BlockingIOError(errno.EAGAIN, "another process has locked it")
    return True
