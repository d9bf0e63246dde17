"""The plan of a whole decoder: what it is (`data`), made (`decoder`), verified (`check`), as IR (`ir`)."""
