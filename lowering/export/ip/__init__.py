"""An accelerator as an IP of Vivado and a kernel of SLASH: IP-XACT, link configuration, constraints."""
