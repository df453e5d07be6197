"""What our own tests needed and yours may too. Public, and free of any test framework."""
