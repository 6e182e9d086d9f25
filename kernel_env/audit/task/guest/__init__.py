"""Code that runs inside a container: cells that try to cheat. Imports nothing from outside."""
