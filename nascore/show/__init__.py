"""What a person looks at: the only place that knows notebooks and pictures."""
