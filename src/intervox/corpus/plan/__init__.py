"""What is to be synthesised: blocks, texts and speakers."""
