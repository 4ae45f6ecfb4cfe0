"""Tables that a script writes into a page of docs/, between two marks that stand there."""

from pathlib import Path

END = "<!-- end -->\n"


def put(page: Path, maker: str, text: str) -> None:
    """Put text where a page has the marks of its maker, such as "benchmarks/needs.py"."""
    begin = f"<!-- made by {maker} -->\n"
    before, rest = page.read_text(encoding="utf-8").split(begin)
    page.write_text(f"{before}{begin}{text}{END}{rest.split(END, 1)[1]}", encoding="utf-8")
