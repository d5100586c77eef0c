"""Results out: PoseTrack JSON, JSON lines, annotated video."""
