"""Chapter 7, programs: what the chapters before come to, in one piece."""
