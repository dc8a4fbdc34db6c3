"""The prepaid balance: a double-entry ledger, holds, and when the money will be gone."""
