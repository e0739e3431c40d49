"""Chapter 3, positions: added, looked up by distance, or turned in."""
