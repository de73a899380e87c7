"""Binance spot over python-binance: history by REST, live bars by WebSocket."""
