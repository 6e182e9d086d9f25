"""Check whether tasks and recorded episodes can be trusted."""
