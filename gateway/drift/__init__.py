"""Whether a model's traffic still looks like its reference: from counts to verdicts.

Knows counts of columns and the kernels that judge them. Knows nothing of where counts are kept,
of windows by the clock, models, HTTP or alerts.

Reading order: `rules`, `baseline`, `design_effect`, `verdict`.
"""
