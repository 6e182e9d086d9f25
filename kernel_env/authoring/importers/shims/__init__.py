"""Small modules under other benchmarks' names, imported by their code in place of their own.

This folder is put on the path of the processes that prepare and grade imported tasks, so that
`from mledojo.metrics.base import …` needs neither that package nor all that it needs.
"""
