"""A Python that the ordinary user can run, with hpcretrain and its packages, even if root's home holds the clone.

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

    prefix: Path
    """The folder into which the interpreter was installed."""
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
            prefix=Path(sys.base_prefix),
            interpreter=Path(getattr(sys, "_base_executable", sys.executable)).resolve(),
            library=Path(sysconfig.get_path("stdlib")),
            packages=Path(sysconfig.get_path("purelib")),
            source=SOURCE,
        )

    @property
    def version(self) -> str:
        """As in `python3.11`."""
        return f"python{sys.version_info.major}.{sys.version_info.minor}"


def make(folder: Path, user: pwd.struct_passwd, parts: Parts | None = None) -> Path:
    """Make the environment, or bring the copy of the source up to date.

    Args:
        folder: Where; everybody gets there.
        user: Who is to run it.
        parts: What it is made of; by default, of what the running Python is.

    Returns:
        The interpreter, for this user.

    Raises:
        Failed: The user cannot run it or import hpcretrain by it.
    """
    parts = parts or Parts.here()
    python = folder / "bin" / "python"
    folder.mkdir(mode=0o755, exist_ok=True)
    interpreter = parts.interpreter
    if not _readable(user, interpreter, parts.library / "os.py"):
        interpreter = _linked_interpreter(parts, folder / "interpreter")
    packages = parts.packages
    if not _readable(user, *sorted(packages.glob("*/__init__.py"))[:1]):
        packages = _linked(packages, folder / "packages")
    source = parts.source
    if not _readable(user, source / "hpcretrain" / "__init__.py"):
        source = _copied_source(source, folder / "src")
    _write(folder, parts.version, interpreter, packages, source)
    _check(python, user, source)
    return python


def _readable(user: pwd.struct_passwd, *files: Path) -> bool:
    """Whether the user itself can open them: who may pass which folder is for the kernel to say."""
    return _as_user(["head", "--bytes=0", "--", *map(str, files)], user).returncode == 0


def _as_user(command: list[str], user: pwd.struct_passwd) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/", env={"PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def _linked_interpreter(parts: Parts, to: Path) -> Path:
    """The executable, its library and the shared library beside it, as the same tree elsewhere."""
    _linked(parts.library, to / parts.library.relative_to(parts.prefix), leave_out=NOT_LINKED)
    for shared in (parts.prefix / "lib").glob("libpython*.so*"):
        shutil.copy(shared, to / "lib")
    binary = parts.interpreter.read_bytes()
    # The loader looks for the shared library where the executable says; that may be where only root gets.
    fixed, beside = f"{parts.prefix}/lib\0".encode(), b"$ORIGIN/../lib\0"
    if len(fixed) >= len(beside):
        binary = binary.replace(fixed, beside.ljust(len(fixed), b"\0"))
    executable = to / "bin" / parts.interpreter.name
    executable.parent.mkdir(exist_ok=True)
    fresh = executable.with_suffix(".new")
    fresh.write_bytes(binary)
    fresh.chmod(0o755)
    # A program that runs cannot be written to, but it can be replaced.
    fresh.replace(executable)
    return executable


def _linked(tree: Path, to: Path, leave_out: tuple[str, ...] = ()) -> Path:
    """The same files in another folder: links where they can be links, else copies that everybody can read."""
    # copytree keeps times, and a folder's changes with what is installed into it.
    if to.exists() and to.stat().st_mtime_ns == tree.stat().st_mtime_ns:
        return to
    fresh = _cleared(to, ".new")
    fresh.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(
        tree, fresh, symlinks=True, copy_function=_link,
        ignore=lambda folder, names: [name for name in names if folder == str(tree) and name in leave_out],
    )  # fmt: skip
    for folder, _, _ in os.walk(fresh):
        os.chmod(folder, 0o755)
    _replace(to, fresh)
    return to


def _cleared(path: Path, suffix: str) -> Path:
    beside = path.with_name(path.name + suffix)
    if beside.exists():
        shutil.rmtree(beside)
    return beside


def _replace(folder: Path, fresh: Path) -> None:
    """Half a copy never passes for a whole one."""
    old = _cleared(folder, ".old")
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    _cleared(folder, ".old")


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
    if _files(to) == _files(source):
        return to
    fresh = _cleared(to, ".new")
    shutil.copytree(source, fresh, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (fresh, *fresh.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    _replace(to, fresh)
    return to


def _files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of each file that matters; copies keep both."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.match("*.pyc"))
    return {path.relative_to(folder): ((at := path.stat()).st_size, at.st_mtime_ns) for path in files}


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
