"""Provenance: a record beside every artefact, code fingerprints, and the audit that walks both."""
