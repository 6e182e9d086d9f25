"""Call other benchmarks' own code, and make tables by trial that it accepts.

`python -m support.originals` runs with the Python of a benchmark's environment and with the
benchmark's checkout on its path. Nothing of kernel_env is imported here.
"""
