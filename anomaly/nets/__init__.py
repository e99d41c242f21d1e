"""Networks: torch in, torch out, in two or three dimensions."""
