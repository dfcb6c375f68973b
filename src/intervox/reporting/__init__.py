"""What people see of an evaluation: tables, figures, the claim, trials, and the pages."""

REPORT = "report.html"
"""Of a run's folder."""
