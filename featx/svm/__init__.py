"""Linear SVMs with cross-validated C."""
