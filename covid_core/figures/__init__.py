"""Numbers to plotly figures: pure functions, nothing is shown and nothing is computed that a report could state."""
