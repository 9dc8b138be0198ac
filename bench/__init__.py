"""What mixdiff claims, measured."""
