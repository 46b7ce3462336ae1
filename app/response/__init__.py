"""The response room: has the student responded to the support. It never decides and never rates an adult."""
