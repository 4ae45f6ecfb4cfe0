"""The seal of a record: a digest over its own text, so that no edit of it stays unseen.

The seal is the last entry of the record's JSON and is taken over every byte before it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

END = re.compile(r',\n "seal": "([0-9a-f]{64})"\n}\n\Z')


def sealed(content: Mapping[str, Any]) -> str:
    """Return a record's text, with its seal at the end."""
    body = json.dumps(content, indent=1).removesuffix("\n}")
    return f'{body},\n "seal": "{_digest(body)}"\n}}\n'


def seal_of(text: str) -> str | None:
    """Return the seal of a record's text; None where there is none or it is broken."""
    found = END.search(text)
    return found[1] if found and _digest(text[: found.start()]) == found[1] else None


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
