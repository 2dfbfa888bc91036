"""What all panels share: the frame, the look, figures, links, export."""
