"""One picture in, one relit picture of the same geometry out."""
