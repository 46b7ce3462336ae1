"""Who asks, and what that opens. Knows nothing of students' support; knows no HTTP."""
