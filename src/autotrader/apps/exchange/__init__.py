"""A stand-in exchange on loopback that speaks Binance's spot protocol over recorded or simulated bars."""
