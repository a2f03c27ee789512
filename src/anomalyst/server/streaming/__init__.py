"""Pictures as they come, from a folder or a camera; results to MQTT and webhooks."""
