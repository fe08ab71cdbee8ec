"""Pictures before any model sees them: reading, cropping, distortions, photographs."""
