"""What people are told: notices in a person's inbox, rows that want an operator's attention."""
