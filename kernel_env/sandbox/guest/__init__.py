"""Code that runs inside a container as its init process. Imports nothing from outside."""
