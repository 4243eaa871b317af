"""The store of the dashboard: one SQLite file with events, minute counts, states, users, sessions, tokens and the audit log."""
