"""Start a program that may write in one folder only: ``python sandbox.py FOLDER SECONDS BYTES PROGRAM ...``.

A script of its own, on the standard library alone: it limits itself and then becomes the program, so
that no Python code runs between fork and exec in a parent that has threads.

What holds where:

- everywhere: CPU time, the size of each file written, no core dumps;
- Linux 5.13 and later with Landlock: no file is made, changed or removed outside the folder (5.19:
  none moved in; 6.2: none truncated), by the program or whatever it starts; from 6.12 it can't signal
  processes outside either. Permissions and times of files that the user owns are not covered;
- elsewhere, and for reading and the network: nothing. The program is trusted that far.
"""

import ctypes
import os
import resource
import struct
import sys

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_GET_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38
_WRITE_FILE, _REFER, _TRUNCATE = 1 << 1, 1 << 13, 1 << 14
_WRITES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))  # remove and make, of every kind
_SCOPE_SIGNALS = 1 << 1


def confine_writes(folder: str) -> bool:
    """Let this process and its children write below ``folder`` only; say whether the kernel can."""
    libc = ctypes.CDLL(None, use_errno=True)
    if (
        not sys.platform.startswith("linux")
        or (abi := libc.syscall(_CREATE_RULESET, None, 0, _GET_VERSION)) < 1
    ):
        return False
    rights = _WRITES | (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0)
    attributes = struct.pack("=QQQ", rights, 0, _SCOPE_SIGNALS if abi >= 6 else 0)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    for path, allowed in ((folder, rights), (os.devnull, rights & (_WRITE_FILE | _TRUNCATE))):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = struct.pack("=Qi", allowed, opened)
        if libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0):
            raise OSError(ctypes.get_errno(), "Landlock refused a rule")
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.syscall(_RESTRICT_SELF, ruleset, 0):
        raise OSError(ctypes.get_errno(), "Landlock refused its rules")
    os.close(ruleset)
    return True


def main() -> None:
    """Limit this process and become the program."""
    folder, seconds, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    for limit, value in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, size),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    confine_writes(folder)
    os.execv(sys.argv[4], sys.argv[4:])


if __name__ == "__main__":
    main()
