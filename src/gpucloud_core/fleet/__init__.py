"""What operators do with nodes: add, probe, discover, approve, drain, retire; and what they see."""
