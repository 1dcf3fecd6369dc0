"""Folders of one user alone: made so, and refused where others may have put something, or still could.

What is in such a folder is run: whoever may write to it runs code as its owner. Every folder that a grid makes on a
machine is made here.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import stat
from pathlib import Path

PRIVATE = 0o700
OTHERS = stat.S_IRWXG | stat.S_IRWXO
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def make_private(folder: Path, *, may_be_read: bool = False) -> None:
    """Make a folder that only this user may enter, and those above it that are missing; or see that it is one.

    Args:
        may_be_read: whether one that was there keeps its mode if others may read it, since it may be its user's own.
            Otherwise it is closed to them.

    Raises:
        PermissionError: it is a link, another user's, or others may write to it; says what to do.
        OSError: it can be neither made nor looked at.
    """
    with contextlib.suppress(FileExistsError):
        _make(folder)
    mode = check_private(folder)
    if mode & OTHERS and not may_be_read:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(fd, mode & ~OTHERS)
        finally:
            os.close(fd)


def _make(folder: Path) -> None:
    try:
        os.mkdir(folder, PRIVATE)
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        with contextlib.suppress(FileExistsError):  # made just now by another process
            _make_missing(folder.parent)
        os.mkdir(folder, PRIVATE)


def _make_missing(folder: Path) -> None:
    if not folder.exists():
        make_private(folder)


def others_may_write(folder: str | os.PathLike[str]) -> bool:
    """Whether anybody but this user and root may put something into a folder.

    A group that has the user's name and no other member is the user: where each user has one, it may write.
    """
    found = os.stat(folder)
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _is_this_users(found.st_gid)


def _is_this_users(gid: int) -> bool:
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return (gid, group.gr_name) == (user.pw_gid, user.pw_name) and set(group.gr_mem) <= {user.pw_name}


def check_private(folder: Path) -> int:
    """The mode of a folder that nobody else can change.

    Raises:
        FileNotFoundError: it is not there.
        PermissionError: it is a link, another user's, or others may write to it; says what to do.
        OSError: it is no folder, or cannot be looked at.
    """
    found = os.lstat(folder)
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(found.st_mode):
        raise PermissionError(f"{folder} is a link to {os.readlink(folder)}: name the folder itself, or remove it")
    if not stat.S_ISDIR(found.st_mode):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
    if found.st_uid != os.geteuid():
        raise PermissionError(
            f"{folder} belongs to user {found.st_uid}, not to you ({os.geteuid()}), and what is in it would run as "
            "you: use a folder of your own"
        )
    if mode & OTHERS_WRITE:
        raise PermissionError(
            f"other users may write to {folder} (mode {mode:o}), and what is in it would run as you: look whether all "
            f"that is in it is yours, then chmod 700 {folder}, or use another folder"
        )
    return mode
