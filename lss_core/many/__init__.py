"""Grading many scans: what a scan is, one result a scan, on this machine's processes or by the queue."""
