"""A server that answers like Stripe, for machines without a Stripe account.

It takes Checkout sessions and hosts their pay pages, sends signed webhooks again and again until
they are taken, and honours idempotency keys. It is kept honest by what Stripe publishes: requests
are checked against the parameter types of the official library, answers against its resources.
No money moves, and every page says so. All state is in one SQLite file, so a restart loses
nothing.
"""
