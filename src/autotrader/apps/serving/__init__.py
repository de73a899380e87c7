"""The prediction service: one ONNX model over HTTP, and a log of all that it served."""
