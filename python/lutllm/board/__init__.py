"""An accelerator on a board: the IP that Vivado and SLASH take, and the driver of the host."""
