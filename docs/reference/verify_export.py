"""Verify what `hpcretrain audit export` wrote, without hpcretrain: python verify_export.py FILE [ANCHORS.jsonl]

Exit code 0: whole; 1: not, each line says where; 2: not read. Signatures of anchors need `cryptography`.
"""

import hashlib
import json
import sys
from pathlib import Path

CHAINS = ("decisions", "operations")
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def canonical(content):
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def verify(content, hashes):
    """What is wrong with an export, as sentences; `hashes` takes the number and hash of each row."""
    heads = {chain: (0, sha256(f"hpcretrain {chain}".encode())) for chain in CHAINS}
    hashes.update({(chain, 0): head for chain, head in heads.items()})
    *lines, rest = content.split(b"\n")
    end = b"" if rest or not lines else lines.pop()
    for number, text in enumerate(lines[1:], start=2):
        try:
            row = json.loads(text.decode())
            chain, seq, name, body = row["chain"], int(row["seq"]), row["name"], canonical(row["body"])
            before, previous = heads[chain]
            heads[chain] = hashes[chain, seq] = (seq, row["hash"])
            records = heads["decisions"][0]
            if canonical(row) != text or seq != before + 1:
                yield f"line {number}: not canonical, or not row {before + 1} of {chain}, which belongs here"
            elif sha256(f"{previous}\n{seq}\n{name}\n".encode() + body) != row["hash"]:
                yield f"line {number}: row {seq} of {chain} was altered, or the one before it was"
            elif chain == "operations" and row["body"].get("records_before", records) != records:
                yield f"line {number}: row {seq} of {chain} was written behind another record: rows were moved"
            elif chain == "decisions" and name != f"{row['body']['kind']}-{sha256(body)[:16]}":
                yield f"line {number}: its name is not that of what it holds"
        except UNREADABLE:
            yield f"line {number}: holds no row"
    if not lines or not end:
        yield f"line {len(lines) + 1}: cut short; the end, with heads and digest, is missing"
    elif json.dumps({"heads": heads, "sha256": sha256(b"\n".join([*lines, b""]))}).encode() != end:
        yield f"line {len(lines) + 1}: not the end that the lines before it give: one was altered, or some are missing"


def verify_anchors(content, public, hashes):
    """What is wrong with anchors of that ledger; one that a full disk cut short is none, and has another after it."""
    previous, wrong = "0" * 64, "line 1: no anchor is there"
    for number, text in enumerate(content.removesuffix(b"\n").split(b"\n"), start=1):
        try:
            anchor = json.loads(text.decode())
            at, heads = f"line {number}", {chain: tuple(anchor[chain]) for chain in CHAINS}
            if not signed(anchor, text, public):
                yield f"{at}: its signature does not hold"
            if anchor["previous"] != previous:
                yield f"{at}: does not follow from the anchor before it: some were altered, removed or moved"
            for chain in CHAINS:
                if hashes.get((chain, heads[chain][0])) != heads[chain]:
                    yield f"{at}: row {heads[chain][0]} of {chain} is another, or missing"
            previous, wrong = sha256(text), ""
        except UNREADABLE:
            wrong = f"line {number}: no anchor; it was cut short, or altered"
    yield from [wrong] if wrong else []


def signed(anchor, text, public):
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = {key: value for key, value in anchor.items() if key != "signature"}
    try:
        load_pem_public_key(public).verify(bytes.fromhex(anchor["signature"]), canonical(content))
    except Exception:
        # Whatever a key or a signature is that cannot be read, it vouches for nothing.
        return False
    return canonical(anchor) == text


def main(file, anchors=None):
    hashes = {}
    found = list(verify(Path(file).read_bytes(), hashes))
    if anchors:
        read, public = Path(anchors).read_bytes(), Path(anchors).with_suffix(".pub").read_bytes()
        found += [f"{anchors}, {each}" for each in verify_anchors(read, public, hashes)]
    print("\n".join(found) or "whole: every row follows from the one before it")
    return bool(found)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(print(__doc__.split("\n")[0], file=sys.stderr) or 2)
    try:
        sys.exit(main(*sys.argv[1:]))
    except (OSError, ImportError) as error:
        # Signatures that cannot be checked are not taken to hold.
        sys.exit(print(error, file=sys.stderr) or 2)
