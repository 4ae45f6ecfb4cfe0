"""From raw scans of one session to brains on the SRI-24 grid."""
