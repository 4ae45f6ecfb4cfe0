"""What the table of a generator's control holds: its columns, and whose each of its rows is."""

COLUMNS = ("field", "quantity", "unit", "of", "value", "low", "high", "r", "n")

TOLD, ALIKE, BIT = "told", "not told", "bit"
"""samples: told the field; without it; the difference of the two"""
TEST, TRAIN, SHUFFLED, TRUTH = "test", "train", "shuffled", "truth"
"""real scans of each split; training scans, their values shuffled; phantoms without a scanner"""

READ, CEILING, GUESS, MIXED, BACK = "read", "ceiling", "guess", "mixed", "back"
"""readers of a field: trained on real scans, read on samples or on test scans; one that sees none;
trained on shuffled values, read on test scans; trained on samples, read on test scans"""

MASK = "mask"
"""field of the rows on what the recorded bits alone tell"""
