"""Who acts, for which tenant and project, and what they may do."""
