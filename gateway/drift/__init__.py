"""Whether a model's traffic still looks like its reference: from counts to verdicts.

Knows counts of columns, a time that is handed in, and the kernels that judge. Knows nothing of how
counts come in, of models, HTTP or alerts.

Reading order: `panes`, `history` (what was counted when); `baseline`, `reference` (what it should
look like); `rules`, `design_effect`, `verdict`, `kinds`, `look_back` (whether it does); `figures`,
`report` (what is told).
"""
