"""Play many agents on many tasks from one file: resumable, with limits and a retry policy."""
