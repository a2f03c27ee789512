"""What teaching a product decides: references, fitting, feedback, known defects."""
