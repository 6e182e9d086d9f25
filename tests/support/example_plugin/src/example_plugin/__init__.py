"""A metric, an agent and a sandbox back end for kernel_env, in a package of their own."""
