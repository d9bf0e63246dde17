"""Bytes that hardware reads: a scheduled module and its arrays in, an image with its manifest out."""
