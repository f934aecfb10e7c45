"""A Python that the ordinary user can run, with hpcretrain and its packages, though the clone may lie where only root looks.

It is a thin virtual environment in the state folder. What it is made of, namely the interpreter, the packages and the
source, stays where it is if the user can read it there. What the user cannot read is linked (on another file system:
copied) into the state folder; permissions of the original are never touched.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from minicluster.errors import Failed

SOURCE = Path(__file__).resolve().parents[2] / "src"
# Of the interpreter: packages come separately, and nobody runs its own tests.
NOT_LINKED = ("site-packages", "dist-packages", "test", "idlelib", "turtledemo")


@dataclass(frozen=True)
class Parts:
    """What the running Python is made of."""

    interpreter: Path
    """The real executable, not a link of a virtual environment."""
    library: Path
    """Where its standard library lies."""
    packages: Path
    """The folder of installed packages."""
    source: Path
    """The folder that holds the package hpcretrain."""

    @classmethod
    def here(cls) -> Parts:
        """Of the Python that runs this."""
        return cls(
            interpreter=Path(getattr(sys, "_base_executable", sys.executable)).resolve(),
            library=Path(sysconfig.get_path("stdlib")),
            packages=Path(sysconfig.get_path("purelib")),
            source=SOURCE,
        )

    @property
    def version(self) -> str:
        """As in `python3.11`."""
        return f"python{sys.version_info.major}.{sys.version_info.minor}"


def make(folder: Path, user: pwd.struct_passwd) -> Path:
    """Make the environment anew, or bring the copy of the source up to date.

    Returns:
        The interpreter, for this user.

    Raises:
        Failed: The user cannot run it or import hpcretrain by it.
    """
    parts = Parts.here()
    python = folder / "bin" / "python"
    folder.mkdir(mode=0o755, exist_ok=True)
    interpreter = parts.interpreter
    if not _readable(user, interpreter, parts.library / "os.py"):
        interpreter = _linked_interpreter(parts, folder / "interpreter")
    packages = parts.packages
    if not _readable(user, packages, *sorted(packages.glob("*/__init__.py"))[:1]):
        packages = _linked(packages, folder / "packages")
    source = parts.source
    if not _readable(user, source / "hpcretrain" / "__init__.py"):
        source = _copied_source(source, folder / "src")
    _write(folder, parts.version, interpreter, packages, source)
    _check(python, user, source)
    return python


def _readable(user: pwd.struct_passwd, *paths: Path) -> bool:
    """Whether the user itself finds that it can read all these; a folder along the way may be closed."""
    command = " && ".join(['test -r "$1"'] + [f'test -r "${number}"' for number in range(2, len(paths) + 1)])
    return _as_user(["/bin/sh", "-c", command, "sh", *map(str, paths)], user).returncode == 0


def _as_user(command: list[str], user: pwd.struct_passwd) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/", env={"PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def _linked_interpreter(parts: Parts, to: Path) -> Path:
    """The executable, its library and the shared library beside it, as the same tree elsewhere."""
    prefix = Path(sys.base_prefix)
    library = Path("lib") / parts.version
    if to.exists():
        return to / "bin" / parts.interpreter.name
    (to / "bin").mkdir(parents=True)
    _linked(prefix / library, to / library, leave_out=NOT_LINKED)
    for shared in (prefix / "lib").glob("libpython*.so*"):
        shutil.copy(shared, to / "lib")
    binary = parts.interpreter.read_bytes()
    # The loader looks for the shared library where the executable says; that may be where only root gets.
    fixed, beside = f"{prefix}/lib\0".encode(), b"$ORIGIN/../lib\0"
    if len(fixed) >= len(beside):
        binary = binary.replace(fixed, beside.ljust(len(fixed), b"\0"))
    executable = to / "bin" / parts.interpreter.name
    executable.write_bytes(binary)
    executable.chmod(0o755)
    return executable


def _linked(tree: Path, to: Path, leave_out: tuple[str, ...] = ()) -> Path:
    """The same files in another folder: links where they can be links, else copies that everybody can read."""
    if to.exists():
        return to
    # Half a copy must not pass for a whole one.
    fresh = to.with_name(to.name + ".new")
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(
        tree, fresh, symlinks=True, copy_function=_link,
        ignore=lambda folder, names: [name for name in names if folder == str(tree) and name in leave_out],
    )  # fmt: skip
    for folder, _, _ in os.walk(fresh):
        os.chmod(folder, 0o755)
    fresh.rename(to)
    return to


def _link(source: str, target: str) -> str:
    mode = os.stat(source).st_mode
    # A link shares the permissions of the original, which are not ours to change.
    if mode & stat.S_IROTH:
        try:
            os.link(source, target)
            return target
        except OSError:
            pass
    shutil.copyfile(source, target)
    os.chmod(target, 0o755 if mode & stat.S_IXUSR else 0o644)
    return target


def _copied_source(source: Path, to: Path) -> Path:
    """A copy, not links: editors and git replace files, and a link would keep the old one."""
    fresh, old = to.with_name("src.new"), to.with_name("src.old")
    for folder in (fresh, old):
        if folder.exists():
            shutil.rmtree(folder)
    shutil.copytree(source, fresh, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for folder, _, files in os.walk(fresh):
        os.chmod(folder, 0o755)
        for name in files:
            os.chmod(os.path.join(folder, name), 0o644)
    if to.exists():
        to.rename(old)
    fresh.rename(to)
    if old.exists():
        shutil.rmtree(old)
    return to


def _write(folder: Path, version: str, interpreter: Path, packages: Path, source: Path) -> None:
    """The files of a virtual environment (PEP 405), with a path configuration file instead of packages."""
    site = folder / "lib" / version / "site-packages"
    for made in (folder / "bin", site):
        made.mkdir(parents=True, exist_ok=True)
    (folder / "pyvenv.cfg").write_text(f"home = {interpreter.parent}\ninclude-system-site-packages = false\n")
    (site / "hpcretrain.pth").write_text(f"{source}\n{packages}\n")
    python = folder / "bin" / "python"
    python.unlink(missing_ok=True)
    python.symlink_to(interpreter)
    command = folder / "bin" / "hpcretrain"
    command.write_text(f"#!{python}\nfrom hpcretrain.cli import main\n\nraise SystemExit(main())\n")
    command.chmod(0o755)


def _check(python: Path, user: pwd.struct_passwd, source: Path) -> None:
    done = _as_user([str(python), "-c", "import hpcretrain; print(hpcretrain.__file__)"], user)
    if done.returncode or not Path(done.stdout.strip()).is_relative_to(source):
        raise Failed(f"{user.pw_name} cannot import hpcretrain by {python}:\n{done.stderr or done.stdout}")
