"""The viewer: one set of scripts and styles, packaged as a folder or as one file (ADR 081)."""
