"""What is seen of a student: scores. Each belongs to the student and the measure, never to a support."""
