"""What people do with a model: verify speakers, spot keywords, from examples that they enrol."""
