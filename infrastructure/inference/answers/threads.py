"""Names of the threads that run native code. The end of the process recognises them by these."""

ANSWERING = "model-answering"
LOADING = "model-loading"
NATIVE = (ANSWERING, LOADING)
