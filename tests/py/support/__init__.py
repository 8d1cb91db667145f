"""What the tests share: started programs, one user's directories, live providers."""
