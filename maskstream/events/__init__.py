"""Detect mask events, count people per minute, serialise both as JSON records, queue them and deliver them."""
