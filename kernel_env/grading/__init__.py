"""From a submission's bytes to a grade: read, check, score, place. No sandbox here."""
