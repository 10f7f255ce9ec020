"""Curation: from imported scans to a reference standard, a split and a trained version, in tabs of one page."""
