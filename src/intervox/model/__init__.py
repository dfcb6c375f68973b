"""The model that people load: named subspaces of a backbone, their maps, decisions and references."""
