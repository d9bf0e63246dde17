"""From the float level to integers: the graph of a function (`graph`), which of its ops have an integer form (`forms`),
what becomes of each (`rules`), and the functions made of them (`functions`)."""
