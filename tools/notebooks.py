"""Execute the notebooks of docs/notebooks, each from a clean state, and keep what they show.

`python tools/notebooks.py` executes them all and writes them with their outputs; `python tools/notebooks.py NOTEBOOK
FOLDER` executes one in a folder, as it stands there, and puts what came of it beside what it made. The process of the
kernel is printed first. The kernel is of the Python that runs this.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

import hpcretrain

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"

_PATIENCE_S = 300
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(source: Path, folder: Path) -> nbformat.NotebookNode:
    """Execute a notebook in a folder; the notebook, with what it showed.

    Raises:
        CellExecutionError: A cell failed.
        DeadKernelError: The kernel was killed.
    """
    notebook = nbformat.read(source, as_version=4)
    with tempfile.TemporaryDirectory() as settings:
        # Whatever kernels and settings this user has: the kernel is the one beside this interpreter, without any.
        # Sockets of the file system: others on this machine could reach those of the network.
        manager = AsyncKernelManager(
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            connection_file=f"{settings}/kernel.json",
            transport="ipc",
            ip=f"{settings}/kernel",
        )
        path = os.pathsep.join([str(Path(hpcretrain.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=_PATIENCE_S,
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
            on_notebook_start=lambda notebook: _tell(manager),
        )
        env = {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep), "IPYTHONDIR": settings}
        client.execute(cleanup_kc=True, env=env)
    notebook.metadata = nbformat.from_dict(_METADATA)
    return notebook


def shown(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """What each code cell shows, in words: kinds of output and texts, whose numbers and identifiers are left out."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[part for output in cell.outputs for part in _words(output)] for cell in cells]


def _words(output: nbformat.NotebookNode) -> list[str]:
    if output.output_type == "stream":
        return [output.name, _without_numbers(output.text)]
    data: dict[str, Any] = output.get("data", {})
    text = _without_numbers(data.get("text/plain", ""))
    return [output.output_type, *sorted(data), text]


def _without_numbers(text: str) -> str:
    named = re.sub(r"\b[0-9a-f]{7,}\b", "#", text)
    return " ".join(re.sub(r"[-+]?\d[\d.,:TZ-]*(?:e[+-]\d+)?", "#", named).split())


def _tell(manager: AsyncKernelManager) -> None:
    assert manager.provisioner is not None
    print(getattr(manager.provisioner, "pid", None), flush=True)


def main(arguments: list[str]) -> None:
    """Execute one notebook in a folder, or all of them for the documents."""
    if arguments:
        source, folder = Path(arguments[0]), Path(arguments[1])
        nbformat.write(execute(source, folder), folder / f"executed-{source.name}")
        return
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as place:
            nbformat.write(execute(path, Path(place)), path)


if __name__ == "__main__":
    main(sys.argv[1:])
