"""Locks on files that end with their process, however it ends."""

from __future__ import annotations

import errno

_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK}


def try_lock(descriptor: int) -> bool:
    """Lock an open file for this process alone, without waiting.

    The lock goes when the file is closed or the process ends. Processes forked meanwhile hold it,
    too, as long as they keep the descriptor.

    Args:
        descriptor: Of a file that is open for writing: NFS locks no others.

    Returns:
        Whether it is locked now. False where there are no such locks: on Windows, and on file
        systems that refuse them.

    Raises:
        BlockingIOError: If another holds the lock.
    """
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise BlockingIOError(error.errno, error.strerror) from error
        return False
    return True
