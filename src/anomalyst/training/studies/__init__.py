"""What the predecessor's reports did, repeated and measured."""
