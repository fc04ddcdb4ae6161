"""Models, explanations, data and layouts for the Learning Interpretability Tool (LIT).

Importing the package imports no machine-learning framework; each is imported when a
model that needs it is loaded.
"""

__version__ = "0.1.0"
