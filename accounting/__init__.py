"""Money: prices, keys, holds and the ledger. The core is pure; stores are at its edge."""
