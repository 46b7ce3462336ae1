"""Reports about many students: what a screening window shows. Small cells of counts are never published."""
