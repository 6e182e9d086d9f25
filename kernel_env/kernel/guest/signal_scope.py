"""Keep a kernel from sending signals to kernels that are not forks of it, where Linux can.

Landlock (Linux 6.12 and newer for signals) puts the process and all its later forks into a domain:
they can signal and trace each other, and no process outside. Older systems go without.
"""

import ctypes
import os

from .syscalls import libc

CREATE_RULESET, RESTRICT_SELF = 444, 446
"""System call numbers, the same on all machines."""
SCOPE_SIGNAL = 2


class RulesetAttributes(ctypes.Structure):
    """The C structure `landlock_ruleset_attr`."""

    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


def enter_signal_scope() -> bool:
    """Enter a new domain; domains nest up to 16 deep. Returns whether that was possible.

    Needs `no_new_privs`, which containers and mount namespaces of forks have set.
    """
    attributes = RulesetAttributes(scoped=SCOPE_SIGNAL)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    ruleset = libc.syscall(CREATE_RULESET, ctypes.byref(attributes), size, 0)
    if ruleset < 0:
        return False
    try:
        return bool(libc.syscall(RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)
