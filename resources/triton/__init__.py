"""NVIDIA Triton: the embedded server, its model repository and a client for any Triton."""
