"""The explainers that draw a case as a control would look; one file a method, what they share in `trained`."""
