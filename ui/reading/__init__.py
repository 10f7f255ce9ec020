"""What a specialist sees who reads: the studies, the instructions, the cases one by one, the end."""
