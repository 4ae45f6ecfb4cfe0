"""One module per rule: what it reads of the study (`Settings`), and `run`, which does it on files.

Importing a stage costs next to nothing: what it works with is imported when it runs. The rule, the
command line (`wfdm STAGE`) and the code fingerprint all take a stage from its module.
"""
