"""What only the notebooks use: their figures, and what they count. Importable from a notebook
beside this folder."""
