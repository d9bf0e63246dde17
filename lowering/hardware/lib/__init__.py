"""What any unit may use: modules over CIRCT, pipelines, streams, memories, AXI masters, arithmetic, functions."""
