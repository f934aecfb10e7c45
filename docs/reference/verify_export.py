"""Verify what `hpcretrain audit export` wrote, without hpcretrain: python verify_export.py FILE [ANCHORS.jsonl]

Python's standard library suffices; signatures of anchors are checked if `cryptography` is installed.
"""

import hashlib
import json
import sys
from pathlib import Path


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(content):
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def verify(path, anchors=None):
    """Everything that is wrong, as sentences."""
    wrong, heads, hashes = [], {}, {}
    first, *rows, last = Path(path).read_bytes().decode().removesuffix("\n").split("\n")
    for number, text in enumerate(rows, start=2):
        row = json.loads(text)
        chain, seq, body = row["chain"], row["seq"], canonical(row["body"])
        before, previous = heads.get(chain, (0, sha256(f"hpcretrain {chain}")))
        if canonical(row) != text or seq != before + 1:
            wrong.append(f"line {number}: not canonical, or not in its place in {chain}")
        if sha256(f"{previous}\n{seq}\n{row['name']}\n{body}") != row["hash"]:
            wrong.append(f"line {number}: row {seq} of {chain} was altered, or the one before it was")
        if chain == "decisions" and row["name"] != f"{row['body']['kind']}-{sha256(body)[:16]}":
            wrong.append(f"line {number}: {row['name']} is not the name of what it holds")
        heads[chain] = hashes[chain, seq] = (seq, row["hash"])
    end, digest = json.loads(last), sha256("".join(text + "\n" for text in (first, *rows)))
    told = {chain: tuple(head) for chain, head in end["heads"].items() if head[0]}
    if told != heads or end["sha256"] != digest:
        wrong.append("the end: heads or digest are not those of the rows; some are missing")
    for line in Path(anchors).read_text(encoding="utf-8").splitlines() if anchors else ():
        anchor = json.loads(line)
        if not signed(anchor, anchors):
            wrong.append(f"anchor of {anchor['at']}: its signature does not hold")
        for chain in ("decisions", "operations"):
            if anchor[chain][0] and hashes.get((chain, anchor[chain][0])) != tuple(anchor[chain]):
                wrong.append(f"anchor of {anchor['at']}: row {anchor[chain][0]} of {chain} is another, or missing")
    return wrong


def signed(anchor, path):
    content = {key: value for key, value in anchor.items() if key != "signature"}
    try:
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError:
        print("cryptography is not installed, so signatures are not checked", file=sys.stderr)
        return True
    public = Path(path).with_suffix(".pub").read_bytes()
    try:
        load_pem_public_key(public).verify(bytes.fromhex(anchor["signature"]), canonical(content).encode())
    except Exception:
        return False
    return True


if __name__ == "__main__":
    found = verify(*sys.argv[1:])
    print("\n".join(found) or "whole: every row follows from the one before it")
    sys.exit(bool(found))
