"""OANDA's v20 REST API: foreign exchange."""
