"""Which user PostgreSQL runs as, and how that user reaches its files.

PostgreSQL refuses to run as root. Somebody who works as root often has everything under /root,
which no other user may enter. We never loosen the permissions of such folders. Instead:

- the cluster is reached through `/proc/self/cwd`. The child's working directory is set while it is
  still root, and a process may always pass through its own working directory;
- the programs, which PostgreSQL looks up by their real path, are copied once to a cache folder that
  everybody may read and only root may write.
"""

import hashlib
import os
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from infrastructure.embedded.errors import EmbeddedServerError

ACCOUNTS_PREFERRED = ("postgres", "nobody")
WORKING_DIRECTORY = "/proc/self/cwd"


@dataclass(frozen=True)
class Account:
    """The unprivileged user that a server is started as."""

    uid: int
    gid: int


def account_for(cluster: Path) -> Account | None:
    """None if we are not root: then servers run as ourselves.

    An existing cluster is run by its owner, so that a data folder made by an ordinary
    user still works when root starts the service once.
    """
    if os.name != "posix" or os.geteuid() != 0:
        return None
    if cluster.exists():
        owner = cluster.stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
    import pwd  # Only POSIX systems have it.

    for name in ACCOUNTS_PREFERRED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedServerError(
        "PostgreSQL does not run as root and this system has neither of the users"
        f" {' and '.join(ACCOUNTS_PREFERRED)}: start chatledger as an ordinary user, or set"
        " DATABASE_URL to a PostgreSQL of your own."
    )


def give_tree(folder: Path, account: Account) -> None:
    """Make the account the owner of `folder` and of all that is in it."""
    os.chown(folder, account.uid, account.gid)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent, name), account.uid, account.gid, follow_symlinks=False)


def folder_argument(folder: Path, account: Account | None) -> str:
    """The path of `folder` for a child that has it as its working directory."""
    if account is not None and sys.platform == "linux":
        return WORKING_DIRECTORY
    return str(folder)


def reachable_programs(
    install: Path, libraries: Path, account: Account | None, cache_dir: Path
) -> Path:
    """A folder like `install` (bin, lib, share) whose programs the account can run."""
    program = install / "bin" / "postgres"
    if account is None or _can_run(program.resolve(), account):
        return install
    try:
        # Named by content, so that several environments share one copy.
        with program.open("rb") as file:
            key = hashlib.file_digest(file, "sha256").hexdigest()
        copy = cache_dir / f"postgresql-{key[:16]}"
        cache_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not copy.exists():
            _copy_programs(install, libraries, copy)
    except OSError as error:
        raise EmbeddedServerError(
            f"The user that PostgreSQL runs as (uid {account.uid}) cannot reach {install}, and the"
            f" programs could not be copied to {cache_dir} ({error.strerror}): start chatledger as"
            " an ordinary user, or install it in a folder that every user may enter."
        ) from error
    copied = copy / install.parent.name / install.name
    if copy.stat().st_uid != 0 or not _can_run(copied / "bin" / "postgres", account):
        raise EmbeddedServerError(
            f"{copy} should be a folder of root that every user may enter and is not: remove it,"
            " and start again."
        )
    return copied


def _can_run(program: Path, account: Account) -> bool:
    folders = program.parents
    return _allows(program, account, stat.S_IROTH | stat.S_IXOTH) and all(
        _allows(folder, account, stat.S_IXOTH) for folder in folders
    )


def _allows(path: Path, account: Account, bits: int) -> bool:
    """Whether the file mode grants the account these rights. bits: as for other users."""
    found = path.stat()
    if found.st_uid == account.uid:
        bits <<= 6
    elif found.st_gid == account.gid:
        bits <<= 3
    return found.st_mode & bits == bits


def _copy_programs(install: Path, libraries: Path, copy: Path) -> None:
    """Copy what a server needs (about 25 MB). The folder appears as a whole or not at all."""
    partial = copy.with_name(f".{copy.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    target = partial / install.parent.name / install.name
    try:
        (target / "bin").mkdir(parents=True)
        for name in ("postgres", "initdb"):
            shutil.copy2(install / "bin" / name, target / "bin" / name)
        shutil.copytree(install / "share", target / "share")
        unneeded = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig")
        shutil.copytree(install / "lib", target / "lib", ignore=unneeded)
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name)
        _open_for_reading(partial)
        partial.rename(copy)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        if not copy.exists():  # Otherwise another start has made it first.
            raise


def _open_for_reading(folder: Path) -> None:
    folder.chmod(0o755)
    for parent, folders, files in os.walk(folder):
        for name in folders:
            Path(parent, name).chmod(0o755)
        for name in files:
            path = Path(parent, name)
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
