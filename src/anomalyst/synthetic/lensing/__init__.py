"""Pictures of strong gravitational lenses with and without dark substructure, ray-traced."""
