"""Tests in a real browser against a really started server."""
