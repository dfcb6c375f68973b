"""What people see of an evaluation: tables, figures, the claim, trials, and the pages."""
