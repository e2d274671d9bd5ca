"""Kind `http`: a request that the operator writes, with placeholders."""
