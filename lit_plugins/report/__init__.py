"""Reports: one self-contained HTML page of what a model looks at over a whole data set."""

from lit_plugins.report.report import Report, build, build_comparison

__all__ = ["Report", "build", "build_comparison"]
