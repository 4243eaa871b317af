"""The dashboard: pages, API, live images and metrics, served by a thread of the stream's process."""
