"""The model card of an export: its data, protocol, metrics, limits and use, as Markdown and as a page."""
