"""What is done for a student: supports, their phases, goals and aimlines."""
