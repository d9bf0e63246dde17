"""Where hardware keeps channels: of one tensor and of a linear (`channels`), and of all there are (`decoder`)."""
