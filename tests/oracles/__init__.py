"""The published systems against numbers that their authors' code made.

The numbers lie in a folder outside the checkout, `WFDM_ORACLES`, by default `../shared/oracles`:
for each system `facts.json` and `oracle.safetensors`. Where the folder is missing the tests are
skipped. No size is written here: cases of other sizes and seeds are judged by the same tests.
"""
