"""Provide small modules under other benchmarks' package names.

The processes that prepare and grade imported tasks put this folder on `sys.path`. The
benchmark's code then imports these modules in place of its own package and its dependencies.
"""
