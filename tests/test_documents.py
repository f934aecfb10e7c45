from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("slurm/*.md")])
NOTEBOOKS = sorted(ROOT.glob("docs/notebooks/*.ipynb"))
TEXT = {"", ".cfg", ".ini", ".ipynb", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}

BLOCK = re.compile(
    r"^(?P<exempt><!-- not run: .+ -->\n)?(?P<fence>`{3,})(?P<language>.*)\n(?P<text>(?:.*\n)*?)(?P=fence)$",
    re.MULTILINE,
)
LINK = re.compile(r"\]\((?!\w+:)(?P<path>[^)#\s]+)")
# CANCELLED is a word of Slurm; Cancelled and Cancelling are words of Prefect.
BRITISH = re.compile(
    r"(?<![a-z])(?!(?-i:CANCELL(?:ED|ING)|Cancell(?:ed|ing)))(?:"
    r"[a-z]*(?:arm|behavi|col|fav|flav|harb|hon|hum|lab|neighb|rig|rum|vap|vig)our[a-z]*"
    r"|[a-z]*(?:author|categor|character|custom|discret|emphas|equal|final|general|initial|local|maxim|minim|normal"
    r"|optim|organ|parallel|penal|prior|random|real|recogn|regular|serial|special|stabil|standard|summar|synchron"
    r"|token|util|vector|visual)is(?:e|ed|er|ers|es|ing|ation|ations)"
    r"|[a-z]*(?:cancel|channel|label|level|model|signal|total|travel)l(?:ed|er|ing)|[a-z]*analys(?:e|ed|er|ing)"
    r"|(?:cent|fib|lit|[a-z]*met|theat)re[sd]?|(?:de|of)fence|licence[sd]?|artefacts?|programmes?|fulfil|ageing"
    r"|grey|whilst|amongst|judgement|learnt|sceptical"
    r")(?![a-z])",
    re.IGNORECASE,
)
MACHINE = re.compile(r"(?<![\w.~])/(?:root|home|work|farm[\w-]*)\b")
REGISTRY = re.compile(r"pypi|pythonhosted|debian\.org|/simple\b|index-url|find-links")


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    line: int
    """Of the document, where the text begins."""
    language: str
    text: str
    runs: bool
    """False after a line `<!-- not run: reason -->`."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return words(json.loads(text)) if path.suffix == ".ipynb" else text


def words(notebook: dict[str, Any]) -> str:
    """What a notebook says and shows in words; its pictures are none."""
    parts = ["".join(cell["source"]) for cell in notebook["cells"]]
    for output in (output for cell in notebook["cells"] for output in cell.get("outputs", [])):
        shown = {"text": output.get("text", []), **output.get("data", {})}
        parts += ["".join(text) for kind, text in shown.items() if kind.startswith("text")]
    return "\n".join(parts)


def blocks(document: Path) -> list[Block]:
    text = read(document)
    return [
        Block(text.count("\n", 0, at.start("text")) + 1, at["language"].strip(), at["text"], at["exempt"] is None)
        for at in BLOCK.finditer(text)
    ]


def run(block: Block, document: str, namespace: dict[str, Any]) -> None:
    where = f"{document}, line {block.line}"
    if block.language == "python":
        # Blank lines before it, so that a traceback names the document's line.
        exec(compile("\n" * (block.line - 1) + block.text, document, "exec"), namespace)
    elif block.language == "bash":
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{where}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "json":
        json.loads(block.text)
    else:
        assert block.language in ("text", "mermaid"), f"{where}: nothing here runs {block.language!r}"


def repository_files() -> list[Path]:
    """The files under version control; in an unpacked archive, all that are not hidden."""
    if shutil.which("git") and (ROOT / ".git").exists():
        # git refuses to look at the clone of another user, unless told so.
        command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        names = [listed_name for listed_name in listed.split("\0") if listed_name]
    else:
        names = [name(path) for path in ROOT.rglob("*") if not re.search(r"(^|/)\.", name(path))]
    return [ROOT / listed_name for listed_name in names if (ROOT / listed_name).is_file()]


def found(pattern: re.Pattern[str], suffixes: set[str]) -> list[str]:
    """Where a pattern occurs in the repository, except in this file, which has to say what is looked for."""
    return [
        f"{name(path)}, line {number}: {match[0]}"
        for path in repository_files()
        if path.suffix in suffixes and path != Path(__file__)
        for number, line in enumerate(read(path).splitlines(), start=1)
        for match in pattern.finditer(line)
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_the_code_blocks_of_a_document_run_one_after_the_other(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPCRETRAIN_HOME", raising=False)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(document):
        if block.runs:
            run(block, name(document), namespace)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_fence_of_a_document_belongs_to_a_block(document: Path) -> None:
    fences = re.findall(r"^\s*```", read(document), re.MULTILINE)
    assert len(fences) == 2 * len(blocks(document)), "fences stand at the beginning of lines, in pairs"


@pytest.mark.parametrize("document", [*DOCUMENTS, *NOTEBOOKS], ids=name)
def test_relative_links_of_a_document_lead_to_files(document: Path) -> None:
    links = [match["path"] for match in LINK.finditer(read(document))]
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_spelling_is_american() -> None:
    assert found(BRITISH, {".ipynb", ".md", ".py"}) == []


def test_no_file_names_a_folder_of_some_machine() -> None:
    assert found(MACHINE, TEXT) == []


def test_no_file_names_a_package_registry() -> None:
    assert found(REGISTRY, TEXT) == []
