"""The HTTP door: OpenAI's API, Ollama's, and what an operator asks for."""
