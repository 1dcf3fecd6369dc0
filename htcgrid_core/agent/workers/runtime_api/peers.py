"""Who is at the other end of a connection from this machine: the user and the processes that hold its socket.

The Runtime API knows no passwords and its clients send none, but Linux knows whose each socket is. It says so at once
over netlink (sock_diag(7)); where a sandbox has no netlink, the table in /proc says the same, in milliseconds.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass

from htcgrid_core.agent.workers.family import family

CAN_TELL = sys.platform == "linux"

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG, a protocol of AF_NETLINK
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_REQUEST = 1  # NLM_F_REQUEST
_EVERY_STATE = _ANY_COOKIE = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_QUERY = struct.Struct("=BBBBI")  # struct inet_diag_req_v2, but for the socket that it asks for
_ENDS = struct.Struct("!HH16s16s")  # struct inet_diag_sockid: ports and addresses, in the order of the network
_OTHER = struct.Struct("=III")  # and interface and cookie
_FOUND = struct.Struct("=4x48x12xII")  # struct inet_diag_msg: user and inode
_BUFFER_BYTES = 8192

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Peer:
    """Attributes: uid of the socket's owner, and the inode by which processes hold it."""

    uid: int
    inode: int


def peer_of(connection: socket.socket) -> Peer | None:
    """Who made a connection over IPv4; None if nobody holds it any more, or it cannot be told."""
    try:
        theirs, ours = connection.getpeername(), connection.getsockname()
    except OSError:
        return None  # it is closed
    try:
        return _asked(theirs, ours)
    except OSError:
        return _looked_up(theirs, ours)


def is_held_by(peer: Peer, pid: int, *, itself: bool = True) -> bool:
    """Whether a socket is one of a process or its descendants.

    Args:
        itself: whether the process counts as well as its descendants.
    """
    wanted = f"socket:[{peer.inode}]"
    return any(wanted in _descriptors(each) for each in family(pid) if itself or each != pid)


def _asked(theirs: Address, ours: Address) -> Peer | None:
    """By netlink.

    Raises:
        OSError: there is none.
    """
    ends = _ENDS.pack(theirs[1], ours[1], socket.inet_aton(theirs[0]), socket.inet_aton(ours[0]))
    query = _QUERY.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _EVERY_STATE)
    body = query + ends + _OTHER.pack(0, _ANY_COOKIE, _ANY_COOKIE)
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, _SOCK_DIAG) as netlink:
        netlink.send(_HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST, 1, 0) + body)
        answer = netlink.recv(_BUFFER_BYTES)
    if _HEADER.unpack_from(answer)[1] != _BY_FAMILY:
        return None  # there is no such socket
    return _known(*_FOUND.unpack_from(answer, _HEADER.size))


def _looked_up(theirs: Address, ours: Address) -> Peer | None:
    """By the tables of TCP sockets, also those for IPv6: a socket of that kind may reach an address of the other."""
    wanted = [_hexadecimal(theirs), _hexadecimal(ours)]
    for table in ("tcp", "tcp6"):
        with suppress(OSError), open(f"/proc/net/{table}", encoding="ascii") as lines:
            for line in lines:
                fields = line.split()
                if [end[-13:] for end in fields[1:3]] == wanted:
                    return _known(int(fields[7]), int(fields[9]))
    return None


def _hexadecimal(address: Address) -> str:
    (number,) = struct.unpack("=I", socket.inet_aton(address[0]))
    return f"{number:08X}:{address[1]:04X}"


def _known(uid: int, inode: int) -> Peer | None:
    return Peer(uid, inode) if inode else None  # 0 once its process has closed it


def _descriptors(pid: int) -> set[str]:
    """What a process has open; nothing if it has ended, or is another user's."""
    found = set()
    with suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):  # closed just now
                found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found
