"""What runs a float model on windows of tokens: inputs of linears, peaks, sensitivities, distillation."""
