"""What people and programs read: the result of a backtest, the state of a home, the explanation of a record."""
