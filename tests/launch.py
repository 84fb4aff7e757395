"""Becomes another program: `launch.py PARENT SIGNAL USER PROGRAM ARGUMENT...`. Run by tests.process, never imported.

PARENT is the pid whose death sends SIGNAL (a number) to the program, so that an interrupted test session leaves nothing
behind. USER is a name to become first, or "-". A program of its own, and not a `preexec_fn`: Python code between fork
and exec may deadlock in a process with threads.
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    parent, signal, user, *command = sys.argv[1:]
    if user != "-":
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    if sys.platform == "linux":
        # After the change of user, which would clear it. Elsewhere there is no such thing, and a killed session
        # leaves its servers running.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal), 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit("the test session ended before its server started")
    os.execvp(command[0], command)  # noqa: S606 -- becoming that program is what this file is for


main()
