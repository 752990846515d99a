"""The report: study, tables, figures, words, the notebooks' runner and the paper, on top of the helpers in robexpl."""
