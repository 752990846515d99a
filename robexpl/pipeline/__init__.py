"""How the study is run and written: workers, notebooks, tables, figures, paper, README."""
