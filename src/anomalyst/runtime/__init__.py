"""A taught product as one network, and the engines that run it: torch, ONNX Runtime, OpenVINO."""
