"""Where scans come from; every source gives the same scan table."""
