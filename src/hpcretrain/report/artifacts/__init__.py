"""What Prefect shows of a model: Markdown and a number, made of the records and notes of its home."""
