"""Venues: one package each, of one grammar: client, source, decode, stream, test_connection."""
