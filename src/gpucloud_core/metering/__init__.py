"""What running things cost: closed form, exact, the same however often it is settled."""
