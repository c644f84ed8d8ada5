"""What is trained: the acupoints of the head, those of the hand. The loop knows neither."""
