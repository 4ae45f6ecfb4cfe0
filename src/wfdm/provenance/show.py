"""What an audit found, for people (a tree) and for programs (JSON)."""

import json
from collections.abc import Iterator

from wfdm.provenance.audit import Audit, Findings

SHOWN = 8  # children of one node that are printed; every one is verified


def tree(audit: Audit, found: Findings) -> Iterator[str]:
    """Yield lines: each file that was asked for and nothing was made from, above what made it."""
    records = {each.path: each for path in found.asked if (each := audit.record_of(path))}
    used = {name for each in records.values() for name in each.inputs}
    tips = [each.main for each in records.values() if not used & {each.path, *each.outputs}]
    if len(found.asked) == 1:
        tips = found.asked
    shown: set[str] = set()
    for tip in tips[:SHOWN]:
        yield from _node(audit, found, tip, 0, shown)
    if len(tips) > SHOWN:
        yield f"... and {len(tips) - SHOWN} more, verified too"


def _node(audit: Audit, found: Findings, path: str, depth: int, shown: set[str]) -> Iterator[str]:
    record, name = audit.record_of(path), "  " * depth + audit.told(path)
    if record is None:
        digest = found.sources.get(path)
        yield f"{name}  source  sha256 {digest[:12]}" if digest else f"{name}  NO RECORD"
        return
    told = record.content
    yield (
        f"{name}  {told['stage']}  code {told['code'][:12]}  seed {told.get('seed')}  "
        f"{told['started']}  {told['device']}"
    )
    if record.path in shown:
        return
    shown.add(record.path)
    for source in list(record.inputs)[:SHOWN]:
        yield from _node(audit, found, source, depth + 1, shown)
    if len(record.inputs) > SHOWN:
        inner = "  " * (depth + 1)
        yield f"{inner}... and {len(record.inputs) - SHOWN} more inputs, verified too"


def as_json(audit: Audit, found: Findings) -> str:
    """Return everything: artefacts, sources, errors, notes, the digest of the chain."""
    made_by = {path: each for each in found.records.values() for path in each.outputs}
    content = {
        "artefacts": [
            {
                "path": audit.told(path),
                "sha256": sha,
                "stage": made_by[path].content["stage"],
                "record": audit.told(made_by[path].path),
            }
            for path, sha in sorted(found.artefacts.items())
        ],
        "sources": [
            {"path": audit.told(path), "sha256": sha} for path, sha in sorted(found.sources.items())
        ],
        "records": len(found.records),
        "chain": found.chain,
        "notes": found.notes,
        "errors": [{"path": audit.told(each.path), "what": each.what} for each in found.problems],
    }
    return json.dumps(content, indent=1)
