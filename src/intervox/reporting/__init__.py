"""What people see of an evaluation: tables, figures, the claim, trials, and the pages."""

METRICS = "metrics.json"
REPORT = "report.html"
"""Files of a run's folder."""
