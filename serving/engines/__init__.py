"""Inference engines: TensorFlow, ONNX Runtime and TensorRT behind one interface."""
