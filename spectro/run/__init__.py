"""Orchestration: units of work, who does them, progress and resume. It holds no arrays."""
