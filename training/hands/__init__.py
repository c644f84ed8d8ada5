"""The second task: seven points of six acupoints on the hand, from labelme files to figures."""
