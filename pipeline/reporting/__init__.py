"""What a run leaves to read: rows, summary, pages, gallery, history and manifest."""
