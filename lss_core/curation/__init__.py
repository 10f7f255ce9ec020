"""Curation: from a pile of scans to a locked, split set with a reference standard. Runs without torch."""
