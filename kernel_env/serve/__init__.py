"""Serve live episodes to clients of other programs: MCP, OpenEnv, and plain HTTP.

`sessions` owns the episodes, whatever the protocol; `access` decides who may ask.
"""
