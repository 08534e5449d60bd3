"""Never more holders than seats, and no seat lost for good."""
