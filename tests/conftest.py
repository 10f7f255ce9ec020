"""Fixtures that every test may ask for."""

pytest_plugins = ["tests.databases", "tests.read_study", "tests.orthanc", "tests.curated_stages"]
