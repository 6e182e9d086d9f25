"""Hold the code that reference agents send as cells; each module is the text of one cell."""
