"""The records of a run: report rows, summary, pages, gallery, history and manifest."""
