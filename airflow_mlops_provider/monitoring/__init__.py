"""What drift, live metric and decision share: pure code over facts and frames."""
