"""Simulated lumbar CT with measured truth."""
