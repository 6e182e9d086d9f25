"""From a submission's bytes to a grade: read, check, score, place. Nothing here touches a sandbox."""
