"""Adapters to other frameworks: one file each, which alone imports its framework.

Nothing else imports them, and no type of a framework is in a signature elsewhere.
"""
