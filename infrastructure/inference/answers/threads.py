"""The names of the threads that run native code, by which whoever ends the process knows them."""

ANSWERING = "model-answering"
LOADING = "model-loading"
NATIVE = (ANSWERING, LOADING)
