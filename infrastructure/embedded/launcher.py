"""The child's side of a start: become the right user, ask to die with the parent, then exec.

This is a script (`python -I -S launcher.py …`) and not a `preexec_fn`: between fork and exec of a
process with several threads, code may wait for a lock that no thread will ever release. It imports
nothing of the project, because isolated mode has no path to it.

Arguments: parent_pid  signal on the parent's death  uid (-1: stay)  gid (-1: stay)  program  …
"""

import os
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    parent_pid, death_signal, uid, gid = (int(argument) for argument in sys.argv[1:5])
    command = sys.argv[5:]
    os.umask(0o077)
    if sys.platform == "linux":
        # Before setuid, because the new user may be unable to read the interpreter's own modules.
        import ctypes

        prctl = ctypes.CDLL(None, use_errno=True).prctl
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After setuid, because a change of credentials clears the setting. It is tied to the
        # parent's thread that forked us, and survives the exec below.
        if prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            sys.exit(f"prctl(PR_SET_PDEATHSIG) failed with error {ctypes.get_errno()}")
        if os.getppid() != parent_pid:
            sys.exit("the parent ended before the server was started")
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted; the caller gives a full path


if __name__ == "__main__":
    main()
