"""Rows in PostgreSQL: one transaction per unit of work, tenants kept apart by the database."""
