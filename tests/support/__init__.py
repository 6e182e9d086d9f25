"""Servers, builders and data that several tests share."""
