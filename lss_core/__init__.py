"""Lumbar Stenosis Studio: everything that is not the browser."""
