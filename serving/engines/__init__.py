"""Inference engines: TensorFlow, ONNX Runtime and TensorRT with one interface.

Shape legend: B requests in a batch, L history length, K top-k.
"""
