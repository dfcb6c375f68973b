"""The interventional dataset: its design, texts, conditions, synthesis and storage."""
