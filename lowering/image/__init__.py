"""What memory holds: streams of linears (`linear`), of other engines (`vector_parameters`), all of it (`whole`)."""
