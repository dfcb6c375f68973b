"""Does it separate, and on whose speech? Verification, keywords, baselines and the report."""
