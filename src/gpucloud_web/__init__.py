"""The web edge: pages for people, JSON for programs, and the terminal. No rule lives here."""
