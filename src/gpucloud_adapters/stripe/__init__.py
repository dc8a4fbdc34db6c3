"""Stripe, through its official library: Checkout takes the money, webhooks tell of it."""
