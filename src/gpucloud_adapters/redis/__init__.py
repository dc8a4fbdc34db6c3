"""Redis or Valkey: counting attempts, and telling pages that something changed."""
