"""placed -> scheduled: tasks in order with what they wait for (`lut-schedule`), depths of FIFOs (`lut-size-streams`),
lists in memory (`lut-serialize`); `lut-verify-schedule` checks all of it, `read` gives it as plain data."""
