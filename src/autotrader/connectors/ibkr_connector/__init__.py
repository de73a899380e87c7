"""Interactive Brokers, through a running TWS or IB Gateway: US equities."""
