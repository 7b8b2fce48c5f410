"""Reading a run from storage alone: status, verification, catalogue."""
