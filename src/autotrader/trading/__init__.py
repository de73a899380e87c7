"""The trader: closed bars become orders, within limits, and nothing that dies takes money with it."""
